//! Compiles the protocol definitions in `proto/` with a compiler written in Rust: no `protoc` is needed.

const PROTOS: [&str; 3] = ["proto/streams.proto", "proto/gossip.proto", "proto/serverfeatures.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let mut config = prost_build::Config::new();
    // What is received is copied once, into the store.
    // Its comments link to pages that are not here.
    config.disable_comments([".google.rpc.Status"]);
    config.bytes(["."]).btree_map(["."]);
    tonic_build::configure().build_transport(false).compile_fds_with_config(config, descriptors)?;
    Ok(())
}

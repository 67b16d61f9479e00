//! The emulator as a program: nodes on fixed ports until a signal ends them.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use eventstoredb_emulator::{
    COMMANDS, Cluster, Options, ServerVersion, TlsFiles, User, send_control, serve_control,
};
use tokio::signal::unix::{SignalKind, signal};

/// A protocol emulator of EventStoreDB, for tests. Not a database.
///
/// Nodes listen on 127.0.0.1, on the port and the next ones. The first leads at start. `ready` on the standard output
/// says that one leads. SIGTERM or SIGINT ends the program.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Nodes: 1 or 3.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Port of the first node.
    #[arg(long, default_value_t = 2111)]
    port: u16,
    /// The server that is emulated: 23.10 or 24.10.
    #[arg(long, value_name = "VERSION", default_value_t = ServerVersion::V23_10)]
    server: ServerVersion,
    /// Folder of the nodes' files. Without it nothing outlives the program.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Certificate of all nodes, in PEM form.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A user who is no administrator. `admin` with the password `changeit` is always there.
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = user)]
    users: Vec<User>,
    /// A Unix socket that takes commands.
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends a command to the control socket of a running emulator, and prints its answer.
    #[command(after_help = COMMANDS)]
    Send {
        /// The socket that `--control` named.
        socket: PathBuf,
        /// The command, such as `kill 2`.
        #[arg(required = true)]
        command: Vec<String>,
    },
}

fn user(text: &str) -> Result<User, String> {
    let (name, password) = text.split_once(':').ok_or("a user is NAME:PASSWORD")?;
    Ok(User { name: name.to_owned(), password: password.to_owned() })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::Send { socket, command }) => send(&socket, &command.join(" ")),
        None => run(arguments),
    };
    result.unwrap_or_else(|error| {
        let mut causes = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        // Nobody may listen, and the exit code says it too.
        let _ = writeln!(io::stderr(), "eventstoredb-emulator: {}", causes.join(": "));
        ExitCode::FAILURE
    })
}

fn send(socket: &std::path::Path, command: &str) -> Result<ExitCode, Box<dyn Error>> {
    let answer = send_control(socket, command)?;
    writeln!(io::stdout(), "{answer}")?;
    Ok(if answer.starts_with("ok") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let tls = arguments.tls_cert.zip(arguments.tls_key);
    let options = Options {
        nodes: arguments.nodes,
        version: arguments.server,
        data: arguments.data,
        first_port: Some(arguments.port),
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        users: arguments.users,
        ..Options::default()
    };
    let signals = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before `ready`: a signal that follows it must end the program in order.
    let (mut terminate, mut interrupt) = {
        let _context = signals.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let cluster = Arc::new(Cluster::start(options)?);
    if let Some(socket) = &arguments.control {
        serve_control(&cluster, socket)?;
    }
    writeln!(io::stdout(), "ready")?;
    io::stdout().flush()?;
    signals.block_on(async {
        let terminated = std::pin::pin!(terminate.recv());
        let interrupted = std::pin::pin!(interrupt.recv());
        futures_util::future::select(terminated, interrupted).await;
    });
    if let Some(socket) = &arguments.control {
        std::fs::remove_file(socket)?;
    }
    Ok(ExitCode::SUCCESS)
}

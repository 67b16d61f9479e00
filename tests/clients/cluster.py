"""Checks the profile `cluster` of compose.yaml: that no piece of it is missing, and that its pieces name one another as they
must. Containers are not run here, so a name that nobody has would be found by the first user."""

import pathlib
import re
import sys

import yaml

root = pathlib.Path(sys.argv[1])
with open(root / "compose.yaml") as file:
    compose = yaml.safe_load(file)
everything = compose["services"]
services = {name: it for name, it in everything.items() if "cluster" in it.get("profiles", [])}
stores = [f"store-{n}" for n in (1, 2, 3)]
nodes = [f"lastseen-{n}" for n in (1, 2)]
faults = []


def check(holds, fault):
    if not holds:
        faults.append(fault)


def source_of(service, target):
    """The volume, or the file, that a service has at a path."""
    for volume in service.get("volumes", []):
        source, at, *_ = volume.split(":")
        if at == target:
            return source
    return None


def waits_for(name):
    """All services that are started before this one."""
    direct = services.get(name, {}).get("depends_on", {})
    return set(direct).union(*(waits_for(other) for other in direct))


pieces = [*stores, *nodes, "store-certificates", "store-user", "store-grant", "balancer", "cluster-prometheus"]
for name in pieces:
    check(name in services, f"the profile has no {name}")
if faults:
    sys.exit("\n".join(faults))

# Whoever is waited for until it ends is a job; all others are started again whenever they stop.
jobs = {
    other
    for service in services.values()
    for other, how in service.get("depends_on", {}).items()
    if how["condition"] == "service_completed_successfully"
}
for name, service in services.items():
    if name in jobs:
        check("restart" not in service, f"{name} is a job, and would never end")
    else:
        check(service.get("restart") == "unless-stopped", f"{name} is not started again")
        check("mem_limit" in service, f"{name} has no limit of memory")
    is_own = service["image"] == "lastseen"
    check(is_own or re.search(r":v?\d+\.\d+\.\d+", service["image"]), f"{name}: the image has no full version")
    for other in service.get("depends_on", {}):
        check(other in services, f"{name} waits for {other}, which the profile has not")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        is_there = (root / source).exists() if source.startswith(".") else source in compose["volumes"]
        check(is_there, f"{name}: there is no {source}")

# Secrets are in files. A command names them; the environment does too.
for name, service in services.items():
    for word in [*service.get("command", []), *service.get("entrypoint", [])]:
        is_of_a_file = word == "--store-password-file" or word.endswith(".password")
        check(is_of_a_file or "password" not in word.lower(), f"{name}: a password in {word!r}")
        check(not re.search(r"://[^/?]*@", word), f"{name}: a user in {word!r}")
    for variable, value in service.get("environment", {}).items():
        is_of_a_file = variable.endswith("_FILE") and str(value).startswith("/")
        check(is_of_a_file or not re.search("PASSWORD|SECRET|TOKEN", variable), f"{name}: {variable} is a secret")
        check(not re.search(r"://[^/?]*@", str(value)), f"{name}: a user in {variable}")
for name in [*nodes, "balancer", "cluster-prometheus"]:
    check(source_of(services[name], "/authority") is None, f"{name} has the key of the authority")
    check(source_of(services[name], "/store") != "store-private", f"{name} has the password of the administrator")

# Three nodes of the store, which find one another.
for name in stores:
    service, number = services[name], name.removeprefix("store-")
    variables = service["environment"]
    seeds = sorted(variables["EVENTSTORE_GOSSIP_SEED"].split(","))
    check(seeds == [f"{other}:2113" for other in stores if other != name], f"{name}: its seeds are {seeds}")
    check(variables["EVENTSTORE_CLUSTER_SIZE"] == "3", f"{name}: the size of the cluster")
    check(variables["EVENTSTORE_DISCOVER_VIA_DNS"] == "false", f"{name} does not use its seeds")
    check("EVENTSTORE_INSECURE" not in variables, f"{name} lets everybody in")
    for variable in ["EVENTSTORE_NODE_HOST_ADVERTISE_AS", "EVENTSTORE_REPLICATION_HOST_ADVERTISE_AS"]:
        check(variables[variable] == name, f"{name}: {variable}")
    for variable, kind in [("CERTIFICATE_FILE", "crt"), ("CERTIFICATE_PRIVATE_KEY_FILE", "key")]:
        check(variables[f"EVENTSTORE_{variable}"] == f"/store/node-{number}/node.{kind}", f"{name}: {variable}")
    check(source_of(service, "/var/lib/eventstore") == name, f"{name} has no disk of its own")
    check("healthcheck" in service, f"{name} has no health check")
    check("store-certificates" in waits_for(name), f"{name} does not wait for its certificate")
check(len({services[name]["image"] for name in stores}) == 1, "the nodes of the store are of several versions")

# Two nodes of Lastseen, which know all three, have a disk of their own, and share their keys.
for name in nodes:
    service = services[name]
    variables = service["environment"]
    hosts, _, parameters = variables["LASTSEEN_STORE"].removeprefix("esdb://").partition("?")
    check(hosts.split(",") == [f"{store}:2113" for store in stores], f"{name}: the store is {hosts}")
    check("tls=true" in parameters and "tlsCaFile=/store/ca/ca.crt" in parameters, f"{name} does not speak TLS")
    check("tlsVerifyCert" not in parameters, f"{name} trusts everybody")
    check(source_of(service, "/data") == name, f"{name} has no disk of its own")
    check(variables["LASTSEEN_KEYS"] == "/keys/keys.json", f"{name}: the keys")
    check(source_of(service, "/store") == "store-client", f"{name} has no certificate of the authority")
    missing = {"store-grant", "store-user", "cluster-key-of-publisher", *stores} - waits_for(name)
    check(not missing, f"{name} does not wait for {missing}")
check(len({source_of(services[name], "/keys") for name in nodes}) == 1, "the nodes of Lastseen have different keys")
made = source_of(services["cluster-key-of-publisher"], "/data")
check(made == source_of(services[nodes[0]], "/keys"), "the keys that are made are not those that the nodes have")
grant = services["store-grant"]["command"]
user = services[nodes[0]]["environment"]["LASTSEEN_STORE_USER"]
check(grant[:3] == ["cluster", "grant", user], f"the right to read is not given to {user}")
check(f"user={user}\n" in (root / "docs/deploy/cluster/user.sh").read_text(), f"user.sh does not make {user}")

# The balancer and Prometheus know every node.
balancer = (root / "docs/deploy/cluster/Caddyfile").read_text()
check(f"reverse_proxy {' '.join(f'{node}:8080' for node in nodes)} " in balancer, "the balancer does not know the nodes")
check("health_uri /readyz" in balancer and "health_port 9091" in balancer, "the balancer does not ask for health")
check("lb_policy cookie" in balancer, "a browser loses its session where its requests change nodes")
with open(root / "docs/monitoring/cluster.yaml") as file:
    prometheus = yaml.safe_load(file)
scraped = {job["job_name"]: job["static_configs"][0]["targets"] for job in prometheus["scrape_configs"]}
check(scraped["lastseen"] == [f"{node}:9091" for node in nodes], f"Prometheus asks {scraped['lastseen']}")
check(scraped["store"] == [f"{store}:2113" for store in stores], f"Prometheus asks {scraped['store']}")
for rules in prometheus["rule_files"]:
    check(source_of(services["cluster-prometheus"], f"/etc/prometheus/{rules}"), f"Prometheus has no {rules}")

# Whoever asks for no profile gets one server, as before.
for name, service in everything.items():
    if "profiles" not in service:
        others = set(service.get("depends_on", {})) & set(services)
        check(not others, f"{name} of no profile waits for {others}")

if faults:
    sys.exit("\n".join(faults))
print(f"{len(services)} services, {len(jobs)} of them jobs")

#!/bin/bash
# Starts a node of the store. Its administrators get their passwords when the cluster starts for the first time: the
# server takes them from the environment alone, so they come from a file, and no command and no compose file has them.
set -euo pipefail

EVENTSTORE_DEFAULT_ADMIN_PASSWORD=$(</store/admin.password)
EVENTSTORE_DEFAULT_OPS_PASSWORD=$(</store/ops.password)
export EVENTSTORE_DEFAULT_ADMIN_PASSWORD EVENTSTORE_DEFAULT_OPS_PASSWORD

exec /opt/eventstore/EventStore.ClusterNode

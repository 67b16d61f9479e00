#!/bin/bash
# Makes what the nodes of the store and its clients need to trust each other: an authority, a certificate for each node,
# and passwords. Each is made once: what is there stays.
#
# /authority      the authority with its key; only this job sees it
# /store          for the nodes of the store: the authority without its key, certificates, all passwords
# /client         for Lastseen: the authority without its key, the password of its user
set -euo pipefail
umask 077

# The nodes of the store run as users of their own; this group reads what is made here. It is that of Lastseen's image.
readers=65532

readable() {
  chgrp -R "$readers" "$1"
  chmod -R u=rwX,g=rX,o= "$1"
}

# Complete before it has its name: a job that was cut short leaves nothing that the next one takes for whole.
password() {
  [ -s "$1" ] && return
  head -c 32 /dev/urandom | base64 | tr -d '=+/\n' >"$1.new"
  readable "$1.new"
  mv "$1.new" "$1"
}

if [ ! -d /authority/ca ]; then
  rm -rf /authority/new
  es-gencert-cli create-ca -out /authority/new
  # The tool ends well where it failed.
  test -s /authority/new/ca.crt
  test -s /authority/new/ca.key
  mv /authority/new /authority/ca
fi

for node in 1 2 3; do
  [ -d "/store/node-$node" ] && continue
  rm -rf /store/new
  es-gencert-cli create-node -ca-certificate /authority/ca/ca.crt -ca-key /authority/ca/ca.key \
    -out /store/new -dns-names "store-$node,localhost" -ip-addresses 127.0.0.1
  test -s /store/new/node.crt
  test -s /store/new/node.key
  readable /store/new
  mv /store/new "/store/node-$node"
done

for place in /store /client; do
  mkdir -p "$place/ca"
  cp -f /authority/ca/ca.crt "$place/ca/"
  readable "$place/ca"
done

password /store/admin.password
password /store/ops.password
password /store/lastseen.password
cp -f /store/lastseen.password /client/
readable /client/lastseen.password

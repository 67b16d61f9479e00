#!/bin/bash
# Makes Lastseen's own user of the store; if there is one, gives it the password of the file. The user is in no group:
# it may do what every user may. `lastseen cluster grant` lets it read $all as well.
#
# Passwords go through pipes: no command line has one.
set -euo pipefail

user=lastseen
admin=$(</store/admin.password)
password=$(</store/lastseen.password)
wait_s=300

# Prints the status of the answer, or 000 where there is none.
post() {
  local node=$1 path=$2 body=$3
  curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' --cacert /store/ca/ca.crt \
    --config <(printf 'user = "admin:%s"\n' "$admin") \
    --header 'Content-Type: application/json' --data @<(printf '%s' "$body") "https://$node$path" || true
}

# A cluster that has just started has no leader yet, and then no users.
last=none
for ((waited_s = 0; waited_s < wait_s; waited_s += 2)); do
  for node in store-1:2113 store-2:2113 store-3:2113; do
    last=$(post "$node" /users \
      '{"LoginName": "'"$user"'", "FullName": "Lastseen", "Groups": [], "Password": "'"$password"'"}')
    if [ "$last" = 201 ]; then
      echo "made the user $user"
      exit 0
    elif [ "$last" = 409 ]; then
      last=$(post "$node" "/users/$user/command/reset-password" '{"NewPassword": "'"$password"'"}')
      if [ "$last" = 200 ]; then
        echo "the user $user is there; it has the password of the file"
        exit 0
      fi
    fi
  done
  sleep 2
done
echo "no node of the store made the user $user within $wait_s s; the last answer had the status $last" >&2
exit 1

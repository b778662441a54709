#!/bin/sh
# A Python service that charges cards, and the gateway in front of it, without Docker: the records
# are in a folder. From the root of the repository:
#
#   sh examples/gateway-python/run.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
listen=${LISTEN:-127.0.0.1:8080}
service=${SERVICE:-127.0.0.1:9000}
data=${DATA:-gateway-data}

command -v python3 >/dev/null || { echo "python3 is missing: apt-get install python3" >&2; exit 1; }
mkdir -p "$data"
data=$(cd "$data" && pwd)
once=${ONCE:-$data/once} # ONCE names a gateway that is built
[ -n "${ONCE:-}" ] || (cd "$here/../.." && go build -o "$once" ./cmd/once)

python3 "$here/service.py" --listen "$service" --ledger "$data/charges.jsonl" &
started=$!
"$once" serve --listen "$listen" --admin off --upstream "http://$service" --store "disk:$data/records" \
	--scope basic --in-doubt hold --key required --wait 5s --log-format text &
started="$started $!"
trap 'kill $started 2>/dev/null; wait; exit 0' INT TERM

cat <<END
Charges are taken on http://$listen. Charge a card, and then again with the same key:

  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://$listen/charges
  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://$listen/charges

The second answer is a replay, which the service knows nothing of. It has charged once:

  curl -u alice:a1 http://$listen/charges

Without the gateway it charges each time:

  curl -i -u alice:a1 -d '{"amount":1250}' http://$service/charges
END
wait

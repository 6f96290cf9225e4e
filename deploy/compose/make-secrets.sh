#!/bin/sh
# Makes the secrets that compose.yml hands out, in ./secrets beside it: each once, what is there stays. Run it before the
# first `docker compose up`; to renew one, delete its file (of a password: all that name it), run this and restart.
# The folder is yours alone; the files in it can be read by the users that the containers run as.
set -eu
umask 022
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 0711 "$folder"

random () { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }
sum () { printf %s "$1" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d ' ' -f 1; }
# Writes standard input there, unless it is there.
keep () { if [ -s "$folder/$1" ]; then cat > /dev/null; else cat > "$folder/$1" && echo "made $folder/$1"; fi; }

random | keep jwt_secret
random | keep api_keys
random | keep redis_password
random | keep clickhouse_password
random | keep grafana_password
redis=$(cat "$folder/redis_password")
clickhouse=$(cat "$folder/clickhouse_password")
printf 'redis://:%s@redis:6379' "$redis" | keep redis_url
printf 'user default on #%s ~* &* +@all\n' "$(sum "$redis")" | keep redis_users.acl
printf 'CLICKHOUSE_PASSWORD=%s\n' "$(random)" | keep grafana.env
reader=$(cut -d = -f 2 "$folder/grafana.env")
user () { printf '<%s><password_sha256_hex>%s</password_sha256_hex></%s>' "$1" "$(sum "$2")" "$1"; }
printf '<clickhouse><users>%s%s</users></clickhouse>\n' "$(user uproar "$clickhouse")" "$(user grafana "$reader")" | keep clickhouse_users.xml

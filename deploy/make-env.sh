#!/bin/sh
# Makes the secrets that docker-compose.yml asks for and puts them into .env beside it. A secret that is there already
# stays: the database can be read only with the key and the password that it was made with.
set -eu
cd "$(dirname "$0")/.."
umask 077
touch .env
chmod 600 .env
if [ -n "$(tail -c 1 .env)" ]; then
    echo >> .env # The last line has no end.
fi
for name in GATEHOUSE_MASTER_KEY GATEHOUSE_DATABASE_PASSWORD GATEHOUSE_REDIS_PASSWORD \
    GATEHOUSE_CACHE_KEY GATEHOUSE_SERVICE_TOKEN; do
    if ! grep -q "^$name=." .env; then
        secret=$(openssl rand -base64 32)
        echo "$name=$secret" >> .env
    fi
done

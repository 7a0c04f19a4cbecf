#!/bin/sh
# Creates the secrets for docker-compose.yml and writes them to .env. Existing secrets are not changed, because the
# database requires the key and the password with which it was created.
set -eu
cd "$(dirname "$0")/.."
umask 077
touch .env
chmod 600 .env
if [ -n "$(tail -c 1 .env)" ]; then
    echo >> .env # The last line lacks a newline.
fi
for name in GATEHOUSE_MASTER_KEY GATEHOUSE_DATABASE_PASSWORD GATEHOUSE_REDIS_PASSWORD \
    GATEHOUSE_CACHE_KEY GATEHOUSE_SERVICE_TOKEN; do
    if ! grep -q "^$name=." .env; then
        secret=$(openssl rand -base64 32)
        echo "$name=$secret" >> .env
    fi
done

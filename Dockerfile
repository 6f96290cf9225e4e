# Uproar in a container: everything is built in the first stage, the second has only what runs. Debian, because the
# sockets' native library needs glibc. It runs as user 1000 with nothing to write but /data, so the root may be read-only
# (`--read-only --tmpfs /tmp`). Tokens: set JWT_SECRET or JWT_SECRET_FILE (or another key), since the ephemeral one of a
# server without a key is handed out on loopback only, and no browser reaches a container by that.
#
#   docker build -t uproar .                                   # add --build-arg WITH_CHDB=true for the archive without
#   docker run -p 8080:8080 -p 9001:9001 -v uproar:/data -e JWT_SECRET=… uproar      # ClickHouse: 540 MB more
#   docker exec CONTAINER uproar doctor

# The digest is the index of all platforms of that tag; the version is the one that package.json runs everywhere else.
FROM node:22.23.3-bookworm-slim@sha256:c3de60bf2f9dd0ac6370e6117950ff62d6e339527e7472301c9c78a017978392 AS build
ARG WITH_CHDB=false
WORKDIR /app
COPY package.json package-lock.json ./
# chDB alone is left out, by name: without optional packages altogether lmdb would lose its binary.
RUN if [ "$WITH_CHDB" != true ]; then npm pkg delete optionalDependencies.chdb; fi && npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY proto ./proto
COPY src ./src
RUN npm run build && npm prune --omit=dev --no-audit --no-fund \
  # The sockets' library comes with binaries for every system and Node: 120 MB that never run here.
  && find node_modules/uWebSockets.js/dist/bin -name '*.node' ! -name 'uws_linux_*_127.node' -delete

FROM node:22.23.3-bookworm-slim@sha256:c3de60bf2f9dd0ac6370e6117950ff62d6e339527e7472301c9c78a017978392
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 WS_PORT=9001 DATA_DIR=/data
WORKDIR /app
RUN mkdir /data && chown 1000:1000 /data && ln -s /app/src/cli/uproar.js /usr/local/bin/uproar
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/proto ./proto
COPY --from=build /app/src ./src
COPY deploy/healthcheck.ts ./deploy/healthcheck.ts
# By number: Kubernetes cannot tell from a name that it is not root.
USER 1000:1000
VOLUME /data
EXPOSE 8080 9001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["node", "deploy/healthcheck.ts"]
CMD ["node", "src/main.ts"]

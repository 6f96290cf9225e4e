# Uproar in a container: everything is built in the first stage, the second has only what runs. Debian, because the
# sockets' native library needs glibc. Tokens: set JWT_SECRET (or another key), since the ephemeral one of a server
# without a key is handed out on loopback only, and no browser reaches a container by that.
#
#   docker build -t uproar .
#   docker run -p 8080:8080 -p 9001:9001 -v uproar:/data -e JWT_SECRET=… uproar

FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY proto ./proto
COPY src ./src
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM node:22-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 WS_PORT=9001 DATA_DIR=/data
WORKDIR /app
RUN mkdir /data && chown node:node /data
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/proto ./proto
COPY --from=build /app/src ./src
COPY deploy/healthcheck.ts ./deploy/healthcheck.ts
USER node
VOLUME /data
EXPOSE 8080 9001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["node", "deploy/healthcheck.ts"]
CMD ["node", "src/main.ts"]

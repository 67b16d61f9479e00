# Builds and packs the one binary: docker build -t lastseen .
FROM rust:1.95-slim-bookworm AS build
# `--build-arg FEATURES=` builds without the client of EventStoreDB: some 150 crates less.
ARG FEATURES=eventstoredb
WORKDIR /src
COPY . .
RUN cargo build --profile lines --locked -p lastseen --features "$FEATURES" \
 && mkdir -p /out/data /out/keys \
 && objcopy --only-keep-debug target/lines/lastseen /out/lastseen.debug \
 && objcopy --strip-debug --add-gnu-debuglink=/out/lastseen.debug target/lines/lastseen /out/lastseen

# The line tables of this build, for panics: docker build --target symbols --output . .
FROM scratch AS symbols
COPY --from=build /out/lastseen.debug /

# glibc and nothing else: no shell, no package manager, a user without rights.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/lastseen /usr/bin/lastseen
COPY --from=build --chown=nonroot:nonroot /out/data /data
COPY --from=build --chown=nonroot:nonroot /out/keys /keys
ENV LASTSEEN_DATA=/data LASTSEEN_LISTEN=0.0.0.0:8080
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m CMD ["/usr/bin/lastseen", "--quiet", "status"]
ENTRYPOINT ["/usr/bin/lastseen"]
CMD ["serve"]

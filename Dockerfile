# Longwire in a container.
#
#     docker build -t longwire .
#     docker run -p 8080:8080 -v longwire:/var/lib/longwire -v ./backend.key:/run/secrets/longwire_backend:ro longwire
#
# docs/operations.md says what it needs; compose.yaml is an example. `make docker-check` builds and tries it.

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY setup/packages setup/packages
RUN setup/packages run
COPY . .
RUN make -j"$(nproc)" && make install DESTDIR=/out

FROM debian:bookworm-slim
COPY setup/packages /tmp/packages
RUN /tmp/packages runtime && rm -rf /tmp/packages /var/lib/apt/lists/* \
    && useradd --system --uid 880 --user-group --no-create-home --home-dir /var/lib/longwire longwire \
    && install -d -o longwire -g longwire -m 700 /var/lib/longwire
COPY --from=build /out/usr/local/bin /usr/local/bin
COPY setup/container.conf /etc/longwired.conf

# Each setting of docs/configuration.md is such a variable, but for keys: these stand in the file.
ENV LONGWIRE_CONFIG=/etc/longwired.conf \
    LONGWIRE_DATA=/var/lib/longwire \
    LONGWIRE_HTTP=0.0.0.0:8080 \
    LONGWIRE_TCP=0.0.0.0:7400
USER longwire
VOLUME /var/lib/longwire
EXPOSE 8080 7400

# Alive, not ready: a restart does not help a full disk. Another port needs LONGWIRE_SERVER=127.0.0.1:PORT.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["longwire", "info", "--alive"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["longwired"]

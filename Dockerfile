# The worker. Build: docker build -t esm-runtime .   Add your code: deploy/README.md.
# Python 3.11 because it costs 10-15 % less CPU per request here than 3.12 and 3.13.

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md constraints.txt ./
COPY pollers pollers
COPY runtime runtime
COPY handlers handlers
RUN pip wheel --no-cache-dir --disable-pip-version-check --constraint constraints.txt --wheel-dir /wheels .

FROM python:3.11-slim
# A fixed number: Kubernetes' runAsNonRoot and the owner of a mounted folder need one. The home is for a mounted ~/.aws.
RUN groupadd --gid 10001 esm && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin esm
# Mounted, so that the wheels take no room in the image.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --disable-pip-version-check --no-index --find-links /wheels esm-runtime
# The positions of stream mappings: mount a volume here (deploy/README.md). `worker.state` is ./.esm/state.db unless told otherwise, which
# leads here too. No VOLUME: it would make an anonymous one for each container, and the next one would begin anew without a word.
RUN install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/esm && mkdir /app && ln -s /var/lib/esm /app/.esm
# What a handler prints is seen at once, and not lost with the process.
ENV PYTHONUNBUFFERED=1
# `esm run` reads esm.yaml here; the worker itself writes nothing but the positions of streams.
WORKDIR /app
USER 10001:10001
EXPOSE 9090
# The first SIGTERM drains, a second one cuts the drain short.
STOPSIGNAL SIGTERM
# Of `esm run` on its usual port; unlike urllib, http.client never asks a proxy for 127.0.0.1.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 9090, timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["esm"]
CMD ["run"]

# syntax=docker/dockerfile:1
# One image for every program: `akua proxy`, `akua webhook`, `akua serve`. The base is an argument, so that another one with
# Python 3.11 or newer can stand in (an internal mirror, an offline one).
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
# Where packages come from and whose certificates are believed there; nothing of it stays in the image.
ARG PIP_CERT
ARG PIP_INDEX_URL
WORKDIR /src
ENV PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/akua
# Dependencies first: their layer stays as long as the lock file does.
COPY requirements.lock .
RUN /opt/akua/bin/python -m pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY cli cli
COPY registry_access registry_access
COPY webhook webhook
COPY proxy proxy
COPY node_trust node_trust
RUN /opt/akua/bin/python -m pip install "setuptools>=80" \
 && /opt/akua/bin/python -m pip install --no-deps --no-build-isolation . \
 && /opt/akua/bin/python -m pip uninstall --yes setuptools pip \
 && /opt/akua/bin/akua --version
# Compiled here, because the root file system is read-only later; by hash, so that the same sources give the same bytes.
RUN /opt/akua/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/akua/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="Akua registry access" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/akua /opt/akua
RUN install -d -m 0700 -o 65532 -g 65532 /data
# The root file system is only read; state and audit trail of the embedded default go to the volume.
ENV PATH=/opt/akua/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/data
WORKDIR /data
VOLUME /data
USER 65532:65532
EXPOSE 15000 15443 15090
ENTRYPOINT ["akua"]
CMD ["serve"]

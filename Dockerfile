# syntax=docker/dockerfile:1
# One image for every program: `akua proxy`, `akua webhook`, `akua serve`. The base is an argument, so that another one with
# Python 3.11 or newer can stand in (an internal mirror, an offline one).
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
# Where packages come from and whose certificates are believed there; nothing of it stays in the image.
ARG PIP_CERT
ARG PIP_INDEX_URL
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/akua
# Dependencies first: their layer stays as long as the lock file does.
COPY requirements.lock .
RUN /opt/akua/bin/python -m pip install --no-compile --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE requirements-dev.lock ./
COPY cli cli
COPY programs programs
COPY control control
COPY demo_registry demo_registry
COPY registry_access registry_access
COPY webhook webhook
COPY proxy proxy
COPY node_trust node_trust
# What builds our own package is pinned too: its version is written into the package.
RUN awk '/^setuptools==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements-dev.lock > build.lock \
 && /opt/akua/bin/python -m pip install --no-compile --require-hashes -r build.lock \
 && /opt/akua/bin/python -m pip install --no-compile --no-deps --no-build-isolation . \
 && /opt/akua/bin/python -m pip uninstall --yes setuptools pip \
 && /opt/akua/bin/akua --version
# What nothing here reads goes: botocore's descriptions of every other service (it signs, and finds a pod's own identity), what
# extensions were compiled from, tests, and a venv's conveniences.
RUN cd /opt/akua/lib/python3*/site-packages \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name sts ! -name 'sso*' ! -name signin -exec rm -r {} + \
 && find . -type f '(' -name '*.c' -o -name '*.h' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.pyi' ')' -delete \
 && find . -type d '(' -name tests -o -name testing ')' -path '*/*/*' -prune -exec rm -r {} + \
 && cd /opt/akua && rm -rf include bin/[Aa]ctivate* && find bin -type f ! -name akua -delete && rm -rf bin/__pycache__ \
 && bin/akua --version
# Compiled here, because the root file system is read-only later; by hash, so that the same sources give the same bytes.
RUN /opt/akua/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/akua/lib

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

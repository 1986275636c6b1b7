# One image for all processes of a release, including one-off processes:
#   docker build --build-arg CODE_VERSION="$(git rev-parse HEAD)" -t shop .
#   docker run --rm -e DATABASE_URL=... -e ENVIRONMENT=production shop admin migrate
#
# It has no HEALTHCHECK, because web, worker and one-off processes need different ones: those of
# compose.yaml and deploy/kubernetes.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
# The image gets no pip: the one of this stage installs into its environment.
RUN python -m venv --without-pip /opt/venv
WORKDIR /build

# The locked dependencies come first, so that their layer is rebuilt only when the lock changes.
COPY requirements.txt ./
RUN pip --python /opt/venv install --no-compile --require-hashes -r requirements.txt

COPY LICENSE README.md pyproject.toml ./
COPY oneoff ./oneoff
RUN pip --python /opt/venv install --no-compile --no-deps .

# Compile to .pyc in the final folder, which is not writable at run time. Without .pyc files each
# start of a one-off process would compile the project again. Python does not compare them with
# the times of the sources, which some builders change.
WORKDIR /srv/shop
COPY alembic.ini manage.py pyproject.toml ./
COPY app ./app
COPY commands ./commands
COPY migrations ./migrations
RUN /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib . \
    && /opt/venv/bin/admin help >/dev/null

FROM python:${PYTHON_VERSION}-slim
ARG CODE_VERSION=""
ARG VERSION=""
LABEL org.opencontainers.image.title="shop" \
    org.opencontainers.image.description="The reference project of oneoff" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${CODE_VERSION}"
ENV CODE_VERSION=${CODE_VERSION} \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/shop /srv/shop
WORKDIR /srv/shop
# A number, so that Kubernetes can verify runAsNonRoot; it can't verify a name.
USER 10001:10001
# No shell is between: the process is process 1, and gets the signals of `docker stop`.
CMD ["admin", "help"]

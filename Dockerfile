# One image for all processes of a release, including one-off processes:
#   docker build --build-arg CODE_VERSION="$(git rev-parse HEAD)" -t shop .
#   docker run --rm -e DATABASE_URL=... -e ENVIRONMENT=production shop admin migrate
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /build

# The locked dependencies come first, so that their layer is rebuilt only when the lock changes.
COPY requirements.txt ./
RUN /opt/venv/bin/pip install --require-hashes -r requirements.txt

COPY LICENSE README.md pyproject.toml ./
COPY oneoff ./oneoff
RUN /opt/venv/bin/pip install --no-deps .

# Compile to .pyc in the final folder, which is not writable at run time. Without .pyc files each
# start of a one-off process would compile the project again.
WORKDIR /srv/shop
COPY alembic.ini manage.py pyproject.toml ./
COPY app ./app
COPY commands ./commands
COPY migrations ./migrations
RUN /opt/venv/bin/python -m compileall -q /opt/venv/lib . \
    && /opt/venv/bin/python manage.py help

FROM python:${PYTHON_VERSION}-slim
ARG CODE_VERSION=""
ENV CODE_VERSION=${CODE_VERSION} \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/shop /srv/shop
WORKDIR /srv/shop
# A number, so that Kubernetes can verify runAsNonRoot; it can't verify a name.
USER 10001:10001
CMD ["python", "manage.py", "help"]

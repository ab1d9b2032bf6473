# edgexfer[train]: finetune, compress, export, lint and report, on an NVIDIA GPU or without one; x86-64.
#   docker build -f docker/train.Dockerfile -t edgexfer:train .
# What the stages are for, and how the image is run: docker/README.md.
# PyTorch's wheels bring CUDA's libraries with them: of NVIDIA's images the smallest of the same CUDA release serves.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/*

# Packages: an environment that holds no pip of its own, filled by one that is pinned.
FROM base AS packages
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m venv /opt/pip \
 && /opt/pip/bin/pip install --no-cache-dir -c constraints.txt pip \
 && python3 -m venv --without-pip /opt/edgexfer
# Before the sources, so that a change of code leaves this layer as it is: the wheel is only asked what it needs.
COPY pyproject.toml README.md LICENSE ./
COPY edgexfer/__init__.py edgexfer/
RUN /opt/pip/bin/pip --python /opt/edgexfer install --no-cache-dir \
      -c constraints.txt --build-constraint constraints.txt '.[train]' \
 && /opt/pip/bin/pip --python /opt/edgexfer uninstall --yes edgexfer

FROM packages AS tools
RUN /opt/pip/bin/pip install --no-cache-dir -c constraints.txt --target /opt/tools \
      pytest pytest-timeout hypothesis

FROM packages AS program
COPY targets targets
COPY calibration calibration
COPY edgexfer edgexfer
RUN /opt/pip/bin/pip wheel --no-cache-dir --no-deps --build-constraint constraints.txt --wheel-dir /opt/wheels .

FROM base AS shipped
LABEL org.opencontainers.image.title="edgexfer:train" \
      org.opencontainers.image.description="Fine-tunes, quantizes and exports edgexfer's image classifiers" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 10001 edgexfer
COPY --from=packages /opt/edgexfer /opt/edgexfer
RUN --mount=type=bind,from=packages,source=/opt/pip,target=/opt/pip \
    --mount=type=bind,from=program,source=/opt/wheels,target=/opt/wheels \
    /opt/pip/bin/pip --python /opt/edgexfer install --no-cache-dir --no-deps /opt/wheels/edgexfer-*.whl
ENV PATH=/opt/edgexfer/bin:$PATH
WORKDIR /data
USER 10001
# A command that ends is not watched.
HEALTHCHECK NONE
ENTRYPOINT ["edgexfer"]
CMD ["--help"]

# The last stage tests what is shipped, as the user who will run it. Tests and tools are mounted, not copied.
FROM shipped
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/src/tools \
    --mount=type=bind,source=tests,target=/src/tests \
    --mount=type=bind,source=pyproject.toml,target=/src/pyproject.toml \
    mkdir /tmp/tests \
 && TMPDIR=/tmp/tests HYPOTHESIS_STORAGE_DIRECTORY=/tmp/tests PYTHONPATH=/src:/src/tools PYTHONDONTWRITEBYTECODE=1 \
    python -m pytest -c /src/pyproject.toml --rootdir /src -p no:cacheprovider -q -m "not slow" \
      /src/tests/core /src/tests/train /src/tests/flow \
 && rm -r /tmp/tests

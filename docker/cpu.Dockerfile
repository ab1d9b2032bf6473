# edgexfer[cpu] on x86-64 and 64-bit Arm: predict, evaluate, bench and load() with ONNX Runtime, without PyTorch.
#   docker build -f docker/cpu.Dockerfile -t edgexfer:cpu .
# What the stages are for, and how the image is run: docker/README.md.
FROM python:3.13.15-slim-trixie AS base

# Packages: an environment that holds no pip of its own, filled by one that is pinned.
FROM base AS packages
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /opt/pip \
 && /opt/pip/bin/pip install --no-cache-dir -c constraints.txt pip \
 && python -m venv --without-pip /opt/edgexfer
# Before the sources, so that a change of code leaves this layer as it is: the wheel is only asked what it needs.
COPY pyproject.toml README.md LICENSE ./
COPY edgexfer/__init__.py edgexfer/
RUN /opt/pip/bin/pip --python /opt/edgexfer install --no-cache-dir \
      -c constraints.txt --build-constraint constraints.txt '.[cpu]' \
 && /opt/pip/bin/pip --python /opt/edgexfer uninstall --yes edgexfer

FROM packages AS tools
RUN /opt/pip/bin/pip install --no-cache-dir -c constraints.txt --target /opt/tools \
      pytest pytest-timeout hypothesis onnx

FROM packages AS program
COPY targets targets
COPY calibration calibration
COPY edgexfer edgexfer
RUN /opt/pip/bin/pip wheel --no-cache-dir --no-deps --build-constraint constraints.txt --wheel-dir /opt/wheels .

FROM base AS shipped
LABEL org.opencontainers.image.title="edgexfer:cpu" \
      org.opencontainers.image.description="Runs and measures edgexfer's image classifiers with ONNX Runtime" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 10001 edgexfer
COPY --from=packages /opt/edgexfer /opt/edgexfer
RUN --mount=type=bind,from=packages,source=/opt/pip,target=/opt/pip \
    --mount=type=bind,from=program,source=/opt/wheels,target=/opt/wheels \
    /opt/pip/bin/pip --python /opt/edgexfer install --no-cache-dir --no-deps /opt/wheels/edgexfer-*.whl
ENV PATH=/opt/edgexfer/bin:$PATH
WORKDIR /data
USER 10001
# A command that ends is not watched; an application that is built on this image brings its own check.
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
    python -m pytest -c /src/pyproject.toml --rootdir /src -p no:cacheprovider -q -m "not slow and not train" \
      /src/tests/core /src/tests/backends /src/tests/runtime /src/tests/gate /src/tests/cli \
      /src/tests/test_base_install.py /src/tests/test_public_api.py \
 && rm -r /tmp/tests

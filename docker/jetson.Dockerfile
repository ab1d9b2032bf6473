# edgexfer[tensorrt] for a Jetson: build, predict, evaluate, bench and load() with JetPack's TensorRT; 64-bit Arm.
#   docker build -f docker/jetson.Dockerfile --build-arg JETPACK=6 -t edgexfer:jetson .
# JETPACK is 6, 7.0 or 7.2; another base is named whole: --build-arg BASE=IMAGE. What runs on what: docker/README.md.
ARG JETPACK=6
ARG BASE=jetpack-${JETPACK}

# JetPack 6.1 to 6.2.2: Ubuntu 22.04, Python 3.10, CUDA 12.6, TensorRT 10.3.
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0 AS jetpack-6
# JetPack 7.0 and 7.1, Thor alone: Ubuntu 24.04, Python 3.12, CUDA 13.0, TensorRT 10.13. There is no l4t-jetpack for 7.
FROM nvcr.io/nvidia/tensorrt:25.08-py3 AS jetpack-7.0
# JetPack 7.2, Orin and Thor: Ubuntu 24.04, Python 3.12, CUDA 13.2, TensorRT 10.16.
FROM nvcr.io/nvidia/tensorrt:26.05-py3 AS jetpack-7.2

FROM ${BASE} AS base
# The bindings are looked for, not imported: without a GPU, as here, the driver's libraries are absent.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && if ! python3 -c 'import importlib.util as find; raise SystemExit(find.find_spec("tensorrt") is None)'; then \
      apt-get install --yes --no-install-recommends python3-libnvinfer; fi \
 && rm -rf /var/lib/apt/lists/*

# Packages: an environment that sees JetPack's TensorRT, holds no pip of its own, and is filled by one that is pinned.
FROM base AS packages
# Some of NVIDIA's images bring constraints of their own, which are not ours.
ENV PIP_CONSTRAINT=""
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt docker/jetpack-6.txt ./
RUN python3 -m venv /opt/pip \
 && /opt/pip/bin/pip install --no-cache-dir -c constraints.txt pip \
 && python3 -m venv --system-site-packages --without-pip /opt/edgexfer
# Before the sources, so that a change of code leaves this layer as it is: the wheel is only asked what it needs.
COPY pyproject.toml README.md LICENSE ./
COPY edgexfer/__init__.py edgexfer/
RUN /opt/pip/bin/pip --python /opt/edgexfer install --no-cache-dir \
      -c constraints.txt -c jetpack-6.txt --build-constraint constraints.txt '.[tensorrt]' \
 && /opt/pip/bin/pip --python /opt/edgexfer uninstall --yes edgexfer

# ONNX Runtime stands in for TensorRT, which needs the GPU, in those tests that ask for predictions.
FROM packages AS tools
RUN /opt/pip/bin/pip install --no-cache-dir -c constraints.txt --target /opt/tools \
      pytest pytest-timeout hypothesis onnx onnxruntime

FROM packages AS program
COPY targets targets
COPY calibration calibration
COPY edgexfer edgexfer
RUN /opt/pip/bin/pip wheel --no-cache-dir --no-deps --build-constraint constraints.txt --wheel-dir /opt/wheels .

FROM base AS shipped
LABEL org.opencontainers.image.title="edgexfer:jetson" \
      org.opencontainers.image.description="Builds, runs and measures edgexfer's image classifiers with TensorRT" \
      org.opencontainers.image.licenses="Apache-2.0"
# The group video owns a Jetson's GPU.
RUN useradd --create-home --uid 10001 --groups video edgexfer
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

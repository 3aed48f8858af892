# The trainer's image: `isotherm train`, in the folder /work. Build it from the repository's root:
#
#   docker build --file deploy/docker/trainer.Dockerfile --tag isotherm-trainer:0.1.0 .
#
# torch comes from TORCH_INDEX: PyTorch's builds for processors, unless you name its CUDA ones
# (https://download.pytorch.org/whl/cu130: several GB more) or a mirror of yours, which may be a folder
# (file:///wheels, mounted into the build). Everything else comes from where pip finds packages.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS dependencies
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_BUILD_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY constraints.txt pyproject.toml ./
# torch alone from its index: an index beside the usual one could answer for any other package, too.
RUN python3 -m venv --without-pip /opt/isotherm \
 && python3 -m pip --python /opt/isotherm/bin/python3 install --no-deps --index-url "${TORCH_INDEX}" torch
# The server's packages have ONNX Runtime, which the exported file is compared with.
RUN mkdir -p client/isotherm proto/isotherm server/isotherm trainer/isotherm \
 && touch LICENSE README.md \
 && python3 -m pip --python /opt/isotherm/bin/python3 install ".[server,trainer]" \
 && python3 -m pip --python /opt/isotherm/bin/python3 uninstall --yes isotherm

FROM dependencies AS build
COPY . .
RUN python3 -m pip wheel --no-deps --wheel-dir /dist . \
 && python3 -m pip --python /opt/isotherm/bin/python3 install --no-deps --no-warn-script-location --root /own /dist/*.whl \
 && mkdir -p /own/work

FROM ${BASE} AS trainer
COPY --from=dependencies /opt/isotherm /opt/isotherm
COPY --from=build /own/opt/isotherm /opt/isotherm
COPY --from=build --chown=65532:65532 /own/work /work
# What libraries keep for later goes where a read-only container can write.
ENV PATH=/opt/isotherm/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /work
USER 65532:65532
ENTRYPOINT ["isotherm", "train"]
CMD ["--help"]
ARG BASE
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Isotherm trainer" \
      org.opencontainers.image.description="Trains a torch.nn.Sequential and exports it to ONNX with its contract." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"

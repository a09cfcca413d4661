# One image for web server, daemon, runs and Ray's nodes. GPUs: --build-arg TORCH_INDEX=https://pypi.org/simple, whose
# build of PyTorch brings CUDA along; the machine then needs NVIDIA's driver and container toolkit.
FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN groupadd --gid 1000 assay \
    && useradd --uid 1000 --gid assay --create-home assay \
    && install --directory --owner assay --group assay /work
COPY constraints.txt /tmp/constraints.txt
RUN python -m pip install --no-cache-dir --index-url "$TORCH_INDEX" \
    "$(grep '^torch==' /tmp/constraints.txt)"
COPY --from=wheel /wheels /wheels
RUN wheel="$(echo /wheels/assay-*.whl)" \
    && python -m pip install --no-cache-dir --constraint /tmp/constraints.txt "${wheel}[dashboard,s3,scale]"
USER 1000:1000
WORKDIR /work
# Everything that all containers share is below /work, at the same path in each.
ENV DAGSTER_HOME=/work/.dagster_home \
    ASSAY_STORAGE=/work/storage \
    ASSAY_EXPERIMENTS=/work/experiments \
    ASSAY_LOCATIONS=/work/locations.yaml \
    DAGSTER_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1
CMD ["assay", "doctor"]

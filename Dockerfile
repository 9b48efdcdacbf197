# hdrlab serve as a public demo: on the CPU, without root, the nets inside. docs/serve.md says more.
#
#   docker build -t hdrlab .
#   docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --memory 6g -p 8210:8210 hdrlab
#
# Other limits take the place of those below: docker run … hdrlab hosts=demo.example.org file_mb=20 minutes=10
FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY hdrlab hdrlab
COPY hydra_plugins hydra_plugins
COPY conf conf
COPY experiments experiments
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.11-slim-bookworm
# Packages from the index of CPU builds first: the ordinary torch brings several gigabytes of CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt --index-url "$TORCH_INDEX" torch
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt \
      "$(echo /tmp/wheel/hdrlab-*.whl)[serve,heic,codecs,raw,operators]" \
    && rm -r /tmp/wheel /tmp/constraints.txt \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin hdrlab
USER 10001
# Pictures are kept in /tmp, as long as the command says, and nothing else is written.
WORKDIR /tmp
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib PYTHONDONTWRITEBYTECODE=1
EXPOSE 8210
HEALTHCHECK --start-period=60s --interval=30s --timeout=5s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8210/health', timeout=4)"]
ENTRYPOINT ["hdrlab", "serve", "host=0.0.0.0"]
CMD ["file_mb=30", "megapixels=16", "pictures=20", "queue=10", "minutes=15", "memory=1500MB"]

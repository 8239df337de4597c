# The stages of tminus, as one image: `tminus run entity|model|control`.
#
# Every package is checked against the hashes of requirements.lock before anything else sees it; the second install
# resolves from those wheels alone, so that the tools of development stay behind. pyproject.toml builds the wheel
# with what the lock names, never with what an index offers today.

FROM python:3.11-slim AS builder
WORKDIR /build
COPY requirements.lock ./
RUN python -m pip download --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock -d /wheels
RUN python -m venv /build/tools \
    && /build/tools/bin/pip install --no-cache-dir --no-index --find-links /wheels build hatchling
COPY pyproject.toml README.md LICENSE tminus.py _tminus_frames.py ./
COPY features features
COPY monitors monitors
COPY streams streams
RUN /build/tools/bin/python -m build --wheel --no-isolation --outdir /dist
RUN python -m venv /opt/tminus \
    && /opt/tminus/bin/pip install --no-cache-dir --no-index --find-links /wheels /dist/tminus-*.whl

FROM python:3.11-slim AS runtime
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin tminus \
    && install -d -o tminus -g tminus /lake /var/cache/numba /work
COPY --from=builder /opt/tminus /opt/tminus
# The interpreter finds the compiled kernels here; compiled now, a first start does not pay for them.
# Compiled code fits one kind of processor: on another it is compiled again, which a volume over this folder keeps.
ENV PATH=/opt/tminus/bin:$PATH \
    NUMBA_CACHE_DIR=/var/cache/numba \
    PYTHONUNBUFFERED=1
USER tminus
RUN python -c "from monitors import drift, leakage; leakage.warm_up(); drift.warm_up()"
WORKDIR /work
VOLUME ["/lake"]
ENTRYPOINT ["tminus"]
CMD ["--help"]

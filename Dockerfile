FROM python:3.12-slim AS packages
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --require-hashes --no-deps -r requirements.lock

FROM python:3.12-slim
# HOME: slack_sdk reads it on import, also if the container runs as another user.
# PYTHONSAFEPATH: the bot can write where it starts, and Python must load nothing from there.
ENV PATH=/venv/bin:$PATH HOME=/app PYTHONPATH=/app PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0
RUN groupadd --system --gid 10001 bot \
    && useradd --system --uid 10001 --gid 10001 --home-dir /app --shell /usr/sbin/nologin bot \
    && install -d -o bot -g bot /data
WORKDIR /app
COPY --from=packages /venv /venv
COPY bot ./bot
COPY handlers ./handlers
# The tree is read-only later, so compile once here instead of at each start.
RUN python -m compileall -q bot handlers
USER 10001:10001
VOLUME /data
# The default database is a file in the folder where the bot starts. A variable would rule out DATABASE_URL_FILE.
WORKDIR /data
EXPOSE 3000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT', '3000')}/healthz\", timeout=4)"]
# The exec form passes SIGTERM to the bot, which waits for a running call and delivers its outcome.
ENTRYPOINT ["python", "-m", "bot"]

"""The proxies that the environment names: httpx and slack_sdk read the same variables by themselves."""

from __future__ import annotations

from urllib.request import getproxies

from bot.errors import StartError


def require_usable_proxies() -> None:
    """Raise StartError if a proxy is not an HTTP proxy.

    For a SOCKS proxy httpx raises ImportError without one more package, and aiohttp, which calls Slack, supports none.
    """
    for name, url in getproxies().items():
        scheme = url.partition("://")[0] if "://" in url else "http"
        if name in ("all", "http", "https") and scheme.lower() not in ("http", "https"):
            raise StartError(
                f"The environment variable {name.upper()}_PROXY names a {scheme}:// proxy, which the bot cannot use. "
                "Set it to an HTTP proxy (http://HOST:PORT), or unset it."
            )

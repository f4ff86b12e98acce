"""Django's settings. Everything that differs between sites comes from the environment, which `madang up` fills."""

import os
import sys
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONCE, NONE, SELF
from django.utils.translation import gettext_lazy as _

from madang.server.home import Home

env = environ.Env()
HERE = Path(__file__).parent
HOME = Home()

DEBUG = False
DEMO = env.bool("MADANG_DEMO", False)
DEMO_PEOPLE: list[str] = env.list("MADANG_DEMO_PEOPLE", default=[])  # the e-mail of everybody whom one click logs in
SECRET_KEY = env("MADANG_SECRET_KEY", default="") or HOME.secret_key
PUBLIC_URL = env("MADANG_URL", default="http://localhost:8000").rstrip("/")
ALLOWED_HOSTS = env.list("MADANG_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
ALLAUTH_TRUSTED_PROXY_COUNT = int(HTTPS)  # else all who fail to log in have one address, the proxy's, and one limit
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"

ROOMS = [
    "madang.portal",
    "madang.insight",
    "madang.planning",
    "madang.outcomes",
    "madang.facilities.compute",
    "madang.jobs",
    "madang.grants",
    "madang.calls",
    "madang.programs",
    "madang.catalog",
    "madang.identity",
    "madang.web",
    "madang.ledger",
    "madang.claims",
    "madang.workflow",
]
INSTALLED_APPS = [
    *ROOMS,
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django_htmx",
    "django_cotton.apps.SimpleAppConfig",
    "template_partials.apps.SimpleAppConfig",
    "csp",
    "pgtrigger",
    "pghistory",
    "procrastinate.contrib.django",
    "ninja",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "madang.web.middleware.PlainAnswers",
]
ROOT_URLCONF = "madang.urls"
WSGI_APPLICATION = "madang.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_TEST = "pytest" in sys.modules
_APPLICATION = env.db("DATABASE_URL", default="postgresql://madang@/madang")
APPLICATION_ROLE = _APPLICATION["USER"] or "madang"
# Only what migrates, and the tests, which create databases, run as the owner. All else is the application's role.
OWNER = env.bool("MADANG_AS_OWNER", False) or _TEST
_OWNER = env.db("DATABASE_OWNER_URL", default="postgresql://madang_owner@/madang")
DATABASES = {"default": _OWNER if OWNER else _APPLICATION}
if name := env("MADANG_TEST_DATABASE", default=""):
    DATABASES["default"]["TEST"] = {"NAME": name}
DATABASES["default"]["CONN_MAX_AGE"] = 0
if not _TEST:  # the pool wants CONN_MAX_AGE = 0; tests hold one connection each
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {"min_size": 1, "max_size": 8}
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # a session that died with the database is given to nobody

CACHES = {
    # Only attempts to log in and the like are kept in it, by allauth. They are counted once for the site: each process
    # of its own would let whoever guesses a password try as often as there are processes.
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "identity_attempt",
        "OPTIONS": {"MAX_ENTRIES": 50_000},  # beyond it the oldest are dropped; each is gone by itself in minutes
    }
}

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "madang.portal.context.shell",
            ],
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    [
                        (
                            "django.template.loaders.cached.Loader",
                            [
                                "django_cotton.cotton_loader.Loader",
                                "django.template.loaders.filesystem.Loader",
                                "django.template.loaders.app_directories.Loader",
                            ],
                        )
                    ],
                )
            ],
            "builtins": [
                "django.templatetags.i18n",
                "django.templatetags.static",
                "django_cotton.templatetags.cotton",
                "template_partials.templatetags.partials",
                "madang.web.templatetags.madang",
            ],
        },
    }
]

AUTH_USER_MODEL = "identity.Person"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/my/"
LOGOUT_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_ADAPTER = "madang.identity.adapter.AccountAdapter"
ACCOUNT_SIGNUP_FORM_CLASS = "madang.identity.signup.SignupForm"
ACCOUNT_FORMS = {"signup": "madang.identity.signup_form.EvenSignupForm"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_USER_MODEL_EMAIL_FIELD = "email"
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[마당] "
ACCOUNT_SESSION_REMEMBER = True
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Madang"

LANGUAGE_CODE = "ko"
LANGUAGES = [("ko", _("Korean")), ("en", _("English"))]
TIME_ZONE = "Asia/Seoul"
USE_TZ = True
USE_I18N = True
LOCALE_PATHS: list[Path] = []  # each room has its own locale/

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600
MEDIA_ROOT = HOME.files
RUNS_ROOT = HOME.runs
SLURM: dict[str, dict[str, Any]] = env.json("MADANG_SLURM", default={})  # see facilities/compute/clusters.py
# Sessions are reached at hosts below this address, one each: https://s-<uuid>.<it>. Without it there are none.
METRICS_TOKEN = env("MADANG_METRICS_TOKEN", default="")
SESSIONS_URL = env("MADANG_SESSIONS_URL", default="").rstrip("/")
SESSIONS_LISTEN = env("MADANG_SESSIONS_LISTEN", default="127.0.0.1:8001")
JOBS_READ: list[str] = env.list("MADANG_JOBS_READ", default=[])  # folders that jobs find at their own path, read-only
FILE_UPLOAD_PERMISSIONS = 0o600
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
LEDGER_WRITES_AMOUNTS = "madang.web.amounts.left"
UPLOAD_LIMIT_BYTES = env.int("MADANG_UPLOAD_LIMIT", 50 * 1024 * 1024)
LEAST_FREE_BYTES = env.int("MADANG_LEAST_FREE", 2 * 1024**3)  # on the disk of the runs, for a job to start and to go on
JOB_FILES_LIMIT_BYTES = env.int("MADANG_JOB_FILES_LIMIT", 0)  # that a running job of the local engine wrote; 0: none
PROJECT_FILE_LIMIT_BYTES = env.int("MADANG_PROJECT_FILE_LIMIT", 5 * 1024**3)  # of one file, in parts
REQUEST_LIMIT_BYTES = 4 * UPLOAD_LIMIT_BYTES  # a form with several files

if host := env("MADANG_SMTP", default=""):
    EMAIL_CONFIG = env.email_url("MADANG_SMTP")
    vars().update(EMAIL_CONFIG)
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = HOME.mail
DEFAULT_FROM_EMAIL = env("MADANG_MAIL_FROM", default="마당 <madang@localhost>")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
        "base-uri": [NONE],
        "object-src": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"

PROCRASTINATE_ON_APP_READY = None
PGTRIGGER_MIGRATIONS = False  # `workflow` installs all of them after every migration: see its apps.py

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["out"], "level": os.environ.get("MADANG_LOG", "WARNING")},
}
if _TEST:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # tests log in a thousand times
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    SESSIONS_URL = "http://sessions.localhost:8001"  # nobody listens there: a site with sessions, to look at its pages
    WHITENOISE_AUTOREFRESH = True  # else each of a thousand test clients lists all static files first

"""How each SDK reports a failed request: its exception types, and where it keeps status and
details."""

import json

import anthropic
import openai
from google.genai import errors

OPENAI = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    502: openai.InternalServerError,
}
ANTHROPIC = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    502: anthropic.InternalServerError,
}
GEMINI = {
    400: errors.ClientError,
    401: errors.ClientError,
    403: errors.ClientError,
    429: errors.ClientError,
    500: errors.ServerError,
    502: errors.ServerError,
}

_TYPES = {"openai": OPENAI, "azure-openai": OPENAI, "anthropic": ANTHROPIC, "gemini": GEMINI}


def expected_type(provider: str, status: int) -> type[Exception]:
    """What the provider's SDK raises for this status."""
    return _TYPES[provider][status]


def status_of(error: Exception) -> int:
    return error.code if isinstance(error, errors.APIError) else error.status_code


def details_of(error: Exception) -> str:
    """The provider's error object in the exception, as JSON text."""
    return json.dumps(error.details if isinstance(error, errors.APIError) else error.body, ensure_ascii=False)

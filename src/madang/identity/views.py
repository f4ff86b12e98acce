from django.http import HttpRequest, HttpResponse


def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    return HttpResponse()

from django import forms
from django.template import engines
from django_cotton.compiler_regex import CottonCompiler

from madang.web.forms import Form, TextField, WholeNumber


def rendered(source: str, **context: object) -> str:
    engine = engines["django"].engine
    template = engine.from_string(CottonCompiler().process(source))
    from django.template import Context

    return template.render(Context(context))


class Plan(Form):
    name = TextField(max_length=5, help_text="한 줄로 적어 주십시오.")
    amount = WholeNumber(max_value=10, required=False)
    mode = forms.ChoiceField(choices=[("a", "A"), ("b", "B")], widget=forms.RadioSelect)
    agreed = forms.BooleanField()


def test_what_people_wrote_is_escaped_once_however_it_is_handed_to_a_component() -> None:
    evil = '<script>alert("&")</script>'
    for source in ('<c-stat label="{{ evil }}" value="1" />', '<c-stat :label="evil" value="1" />'):
        html = rendered(source, evil=evil)
        assert "<script>" not in html
        assert "&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;" in html
    assert 'aria-label="&lt;script&gt;' in rendered('<c-table caption="{{ evil }}"></c-table>', evil=evil)


def test_a_component_does_not_take_what_the_page_calls_by_the_same_name() -> None:
    html = rendered("<c-card>text</c-card>", title="the page's", href="/elsewhere", variant="x", actions="y")
    assert "the page's" not in html
    assert "/elsewhere" not in html


def test_a_field_is_tied_to_its_label_its_hint_and_its_error() -> None:
    form = Plan({"name": "too long for it", "amount": "", "mode": "", "agreed": ""})
    html = rendered('<c-field :field="form.name" />', form=form)
    assert '<label for="id_name">' in html
    assert 'aria-describedby="id_name_helptext id_name_error"' in html
    assert 'aria-invalid="true"' in html
    assert 'id="id_name_helptext"' in html
    assert 'id="id_name_error"' in html


def test_choices_stand_in_a_fieldset_with_a_legend() -> None:
    html = rendered('<c-field :field="form.mode" />', form=Plan())
    assert html.count("<fieldset") == html.count("<legend") == 1
    assert html.count('type="radio"') == 2


def test_the_summary_of_errors_links_to_every_field_that_is_wrong() -> None:
    form = Plan({"name": "", "amount": "11", "mode": "", "agreed": ""})
    html = rendered('<c-form :form="form" />', form=form)
    assert [html.count(f'href="#{target}"') for target in ("id_name", "id_amount", "id_mode_group", "id_agreed")] == [
        1,
        1,
        1,
        1,
    ]
    assert 'id="id_mode_group"' in html


def test_a_form_with_a_file_is_sent_in_parts() -> None:
    class Evidence(Form):
        file = forms.FileField()

    assert 'enctype="multipart/form-data"' in rendered('<c-form :form="form" />', form=Evidence())
    assert "enctype" not in rendered('<c-form :form="form" />', form=Plan())


def test_a_form_rendered_whole_looks_like_its_fields_rendered_one_by_one() -> None:
    form = Plan()
    assert "".join(str(form).split()) == "".join(
        rendered('{% for field in form %}<c-field :field="field" />{% endfor %}', form=form).split()
    )


def test_a_button_with_an_address_is_a_link_and_one_without_submits() -> None:
    assert rendered('<c-button href="/a/" size="small">가기</c-button>').startswith('<a class="button primary small')
    assert 'type="submit"' in rendered('<c-button name="verb" value="save">저장</c-button>')
    assert rendered('<c-button href="/a/" disabled="1">가기</c-button>').startswith("<button")


def test_a_verb_is_a_form_that_posts() -> None:
    html = rendered('<c-post action="/do/" variant="secondary">실행</c-post>')
    assert '<form method="post" action="/do/"' in html


def test_a_badge_takes_its_tone_from_the_state() -> None:
    tones = {"running": "info", "failed": "danger", "queued": "warning", "verified": "success", "draft": "neutral"}
    for state, tone in tones.items():
        assert f'class="badge {tone}' in rendered(f'<c-badge state="{state}">x</c-badge>')


def test_a_meter_says_in_words_what_it_draws() -> None:
    html = rendered(
        '<c-meter label="GPU" :used="used" :held="held" :left="left" :total="total" unit="gpu_second" />',
        used=3600 * 50,
        held=3600 * 25,
        left=3600 * 25,
        total=3600 * 100,
    )
    assert 'width="500"' in html
    assert 'x="500" width="250"' in html
    assert "50 " in html
    assert "aria-hidden" in html


def test_an_allocation_of_nothing_is_drawn_without_dividing_by_it() -> None:
    assert 'width="0"' in rendered('<c-meter label="GPU" :used="0" :left="0" :total="0" unit="seat" />')


def test_a_chart_stands_beside_its_table() -> None:
    html = rendered(
        '<c-chart id="u" title="T" :option="option"><c-slot name="table"><table></table></c-slot></c-chart>',
        option={"series": ["</script><b>"]},
    )
    assert '<script id="u" type="application/json">' in html
    assert "</script><b>" not in html
    assert "<table>" in html


def test_no_component_carries_style_or_script_of_its_own() -> None:
    from pathlib import Path

    import madang

    for path in Path(madang.__file__).parent.rglob("templates/**/*.html"):
        text = path.read_text()
        assert " style=" not in text, path
        assert " onclick=" not in text, path
        assert "javascript:" not in text, path

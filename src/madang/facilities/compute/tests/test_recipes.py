"""Templates: what is shipped runs, and a site has the last word."""

from __future__ import annotations

import os
import subprocess

import pytest
from django.test import Client
from django.urls import reverse

from madang.facilities.compute import actions, recipes
from madang.facilities.compute.models import JobTemplate
from madang.facilities.compute.tests import make
from madang.facilities.compute.tests.test_api import BASE, program
from madang.facilities.compute.tests.test_project_files import keep
from madang.identity.tests import make as identity
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs
from madang.workflow.errors import Missing, NotAllowed, Refused

SHIPPED = ("train-ddp", "fine-tune", "batch-inference", "sweep", "evaluate")
FACTS = {
    "code": "ours",
    "name_ko": "우리 것",
    "name_en": "Ours",
    "text_ko": "설명",
    "text_en": "Text",
    "script": "#!/bin/sh\necho\n",
    "gpus": 1,
    "limit_s": 600,
}


def browser(person) -> Client:
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(person)
    return client


def run(folder, code: str, *arguments: str, programs: dict[str, str] | None = None, **environment: str):
    """The script of a template in a folder, where these programs print what they were called with."""
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    for name, text in (programs or {}).items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    script = folder.parent / "script"
    script.write_text(recipes.shipped()[code].script)
    script.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    said = {"PATH": path, "MADANG_GPUS": "2", "MADANG_TASK": "1", "MADANG_TASKS": "3", **environment}
    return subprocess.run([script, *arguments], cwd=folder, env=said, capture_output=True, text=True, check=False)


SAYS = '#!/bin/sh\necho "${0##*/} $*"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.mark.parametrize("code", SHIPPED)
def test_a_shipped_script_says_what_it_lacks(folder, code):
    answer = run(folder, code, programs={"torchrun": SAYS, "trl": SAYS, "lm_eval": SAYS}, lr="1", seed="1")
    assert answer.returncode != 0
    assert any(word in answer.stderr for word in ("is missing: add it", "as the first argument"))


@pytest.mark.parametrize(
    ("code", "program"), [("train-ddp", "torchrun"), ("fine-tune", "trl"), ("evaluate", "lm_eval")]
)
def test_a_shipped_script_says_which_program_the_machine_lacks(folder, code, program):
    answer = run(folder, code, "model", "task")
    assert answer.returncode == 127
    assert f"{program} is not on this machine" in answer.stderr


def test_training_starts_one_process_for_each_gpu(folder):
    (folder / "train.py").touch()
    answer = run(folder, "train-ddp", "--epochs", "3", programs={"torchrun": SAYS})
    assert answer.stdout == "torchrun --standalone --nproc-per-node=2 train.py --epochs 3\n"


def test_fine_tuning_hands_over_model_and_data(folder):
    (folder / "data.jsonl").write_text("{}\n")
    answer = run(folder, "fine-tune", "/models/a", "--lora_r", "8", programs={"trl": SAYS})
    assert answer.stdout == (
        "trl sft --num_processes 2 --model_name_or_path /models/a --dataset_name ./data "
        "--use_peft --output_dir adapter --lora_r 8\n"
    )
    assert (folder / "data" / "train.jsonl").read_text() == "{}\n"


def test_evaluation_hands_over_model_and_tasks(folder):
    answer = run(folder, "evaluate", "/models/a", "kmmlu,hellaswag", programs={"lm_eval": SAYS})
    assert answer.stdout == (
        "lm_eval --model hf --model_args pretrained=/models/a --tasks kmmlu,hellaswag --batch_size auto "
        "--output_path results\n"
    )


def test_every_input_is_inferred_by_exactly_one_task(folder):
    found = []
    for task in range(3):
        (folder / "inputs.jsonl").write_text("".join(f"{n}\n" for n in range(10)))
        (folder / "infer.py").write_text("import sys\nopen(sys.argv[2], 'w').write(open(sys.argv[1]).read())\n")
        assert run(folder, "batch-inference", MADANG_TASK=str(task)).returncode == 0
        found += (folder / "results.jsonl").read_text().split()
    assert sorted(found, key=int) == [str(n) for n in range(10)]


def test_a_sweep_hands_over_its_row(folder):
    (folder / "train.py").write_text("import sys\nprint(sys.argv[1:])\n")
    answer = run(folder, "sweep", lr="0.1", seed="7")
    assert answer.stdout.endswith("['--lr', '0.1', '--seed', '7']\n")


@pytest.mark.django_db
@pytest.mark.parametrize("code", SHIPPED)
def test_a_job_starts_from_a_template_in_a_page_that_is_filled_in(code):
    row = make.allocation(amount=10_000 * 3600)
    client = browser(jobs.holder(row))
    recipe = recipes.shipped()[code]
    for name in recipe.needs:
        keep(row, name)
    page = client.get(reverse("compute:new"), {"template": code})
    assert recipe.text_en in page.content.decode()
    form = page.context["form"]
    data = {name: form[name].value() for name in form.fields if form[name].value() not in (None, "")}
    client.post(reverse("compute:new"), {**data, "submit": "1"})
    job = Job.objects.get()
    assert (job.name, job.script, job.gpus, job.limit_s) == (recipe.name_en, recipe.script, recipe.gpus, recipe.limit_s)
    assert [entry[0] for entry in job.inputs] == list(recipe.needs)
    assert job.tasks == (4 if code in ("sweep", "batch-inference") else 1)


@pytest.mark.django_db
def test_the_form_says_which_file_a_template_still_lacks():
    row = make.allocation()
    client = browser(jobs.holder(row))
    keep(row, "infer.py")
    text = client.get(reverse("compute:new"), {"template": "batch-inference"}).content.decode()
    assert "It looks for inputs.jsonl:" in text
    assert client.get(reverse("compute:new"), {"template": "nothing"}).status_code == 404


@pytest.mark.django_db
def test_a_site_changes_hides_adds_and_takes_back():
    operator, row = identity.operator(), make.allocation()
    client = program(jobs.holder(row))

    def offered() -> dict[str, str]:
        return {found["code"]: found["name"] for found in client.get(f"{BASE}/templates").json()["items"]}

    assert list(offered()) == list(SHIPPED)
    actions.keep_template(operator, **FACTS)
    actions.keep_template(operator, **{**FACTS, "code": "sweep", "name_en": "Our sweep"})
    actions.keep_template(operator, **{**FACTS, "code": "evaluate"}, hidden=True)
    assert list(offered().items())[-2:] == [("sweep", "Our sweep"), ("ours", "Ours")]
    assert "evaluate" not in offered()
    with pytest.raises(Missing):
        recipes.chosen(recipes.recipes(), "evaluate")
    for code in ("sweep", "evaluate", "ours"):
        actions.drop_template(operator, code=code)
    assert list(offered()) == list(SHIPPED)
    with pytest.raises(Missing):
        actions.drop_template(operator, code="sweep")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "facts"),
    [
        ("code", {"code": "no code"}),
        ("script", {"script": "echo"}),
        ("limit_s", {"limit_s": 30}),
        ("gpus", {"gpus": 0}),
        ("parameters", {"parameters": 'a,b\n"'}),
        ("needs", {"needs": ["../up"]}),
    ],
)
def test_a_template_that_could_never_run_is_refused(field, facts):
    with pytest.raises(Refused) as refused:
        actions.keep_template(identity.operator(), **{**FACTS, **facts})
    assert list(refused.value.errors) == [field]
    assert not JobTemplate.objects.exists()


@pytest.mark.django_db
def test_only_operators_change_templates():
    person = jobs.holder(make.allocation())
    for verb in (
        lambda: actions.keep_template(person, **FACTS),
        lambda: actions.drop_template(person, code="ours"),
    ):
        with pytest.raises(NotAllowed):
            verb()


@pytest.mark.django_db
def test_an_operator_changes_a_template_on_its_page():
    client = browser(identity.operator())
    page = client.get(reverse("compute:template", args=["sweep"]))
    data = {name: page.context["form"][name].value() for name in page.context["form"].fields}
    client.post(reverse("compute:template", args=["sweep"]), {**data, "hidden": "on", "name_en": "Ours now"})
    assert JobTemplate.objects.get().hidden
    text = client.get(reverse("compute:templates")).content.decode()
    assert "Ours now" in text
    assert "Not offered for now" in text
    client.post(reverse("compute:drop_template", args=["sweep"]))
    assert "Ours now" not in client.get(reverse("compute:templates")).content.decode()

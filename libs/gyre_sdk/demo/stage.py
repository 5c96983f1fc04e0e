"""The platform up, a project of its own, and a key for each of the three people of the story."""

from __future__ import annotations

from gyre_sdk.client import Gyre
from gyre_sdk.demo.plan import Plan
from gyre_sdk.demo.show import Show
from gyre_sdk.demo.story import Story

PROJECT = "demo"


def set_up(plan: Plan, show: Show) -> Story:
    show.step("Start the platform")
    start(show)
    admin = Gyre()
    known = {project.name.removeprefix("projects/") for project in admin.projects.list()}
    stop_earlier_demos(known, show)
    project = free_name(known)
    admin.projects.create(project, display_name=f"Demo ({plan.slug}, seed {plan.seed})", consent_to_keep=True)
    show.say(f"project {project}; the gateway may keep what is asked and answered in it")
    owner = Gyre(project=project)
    engineer, application, reviewer = (
        Gyre(project=project, key=owner.keys.create(role, name).secret)
        for role, name in (("ENGINEER", "demo engineer"), ("VIEWER", "demo application"), ("REVIEWER", "demo expert"))
    )
    return Story(plan, show, engineer, application, reviewer, project)


def start(show: Show) -> None:
    """`gyre up`, which does nothing where it runs already."""
    from deploy.local import control
    from deploy.local.settings import RuntimeSettings

    settings = RuntimeSettings()
    state = control.up(settings, lambda _: None)
    show.say(f"eight services are ready; console http://127.0.0.1:{settings.console_port} (home {state.home})")


def stop_earlier_demos(known: set[str], show: Show) -> None:
    """What an earlier demo left serving would keep the cores from this one's trainer."""
    for project in sorted(known):
        if project == PROJECT or project.startswith(f"{PROJECT}-"):
            gyre = Gyre(project=project)
            for deployment in gyre.deployments.list():
                gyre.deployments.delete(deployment.name)
                show.say(f"stopped {deployment.name}, which an earlier demo left serving")


def free_name(known: set[str]) -> str:
    """`demo`, then `demo-2`, and so on: nothing of an earlier demo is touched."""
    if PROJECT not in known:
        return PROJECT
    return next(name for number in range(2, 10_000) if (name := f"{PROJECT}-{number}") not in known)

"""Being here, this file puts `tests/` on the path: `from support.synthetic import make_study`."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedshift.sources import remember_roots
from support import command, once

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# What `make quick` leaves out: a browser, Ray, other families of encoders, and what takes more than some seconds of
# processor time; what is left takes some 170 s in all.
SLOW_FILES = {
    "test_again.py",
    "test_another_version.py",
    "test_app_browser.py",
    "test_app_command.py",
    "test_app_study_browser.py",
    "test_attack.py",
    "test_attack_command.py",
    "test_attention_asked.py",
    "test_baseline.py",
    "test_browser.py",
    "test_browser_families.py",
    "test_browser_hostile.py",
    "test_bundled.py",
    "test_chosen.py",
    "test_claims_numbers.py",
    "test_claims_rates.py",
    "test_clusters_many.py",
    "test_command_edges.py",
    "test_compare.py",
    "test_compare_numbers.py",
    "test_compare_refused.py",
    "test_compare_tolerances.py",
    "test_compile.py",
    "test_copies.py",
    "test_devices.py",
    "test_direction.py",
    "test_direction_run.py",
    "test_disk.py",
    "test_dissection.py",
    "test_dissection_detail.py",
    "test_edges.py",
    "test_embedding_charts.py",
    "test_exactness.py",
    "test_examples.py",
    "test_gallery.py",
    "test_families.py",
    "test_figures_comparison.py",
    "test_figures_layout.py",
    "test_figures_pictures.py",
    "test_foreign_studies.py",
    "test_forked.py",
    "test_fuzz_store.py",
    "test_gate_command.py",
    "test_gate_paired.py",
    "test_gate_proposal.py",
    "test_gate_tolerances.py",
    "test_gradients.py",
    "test_heads_detail_run.py",
    "test_heads_shown.py",
    "test_hostile.py",
    "test_layers.py",
    "test_layers_order.py",
    "test_layers_shown.py",
    "test_left_out.py",
    "test_maps_shown.py",
    "test_maps_study.py",
    "test_misbehaving_encoders.py",
    "test_names_of_archives.py",
    "test_no_network.py",
    "test_no_pickle.py",
    "test_openclip.py",
    "test_outside_question.py",
    "test_page.py",
    "test_pairs_browser.py",
    "test_pairs_report.py",
    "test_pipelined.py",
    "test_private.py",
    "test_ray.py",
    "test_ray_tables.py",
    "test_repair.py",
    "test_report_size.py",
    "test_resume.py",
    "test_resume_shard.py",
    "test_retry.py",
    "test_roots.py",
    "test_run.py",
    "test_search_gallery.py",
    "test_search_kept.py",
    "test_search_pairs.py",
    "test_search_prediction.py",
    "test_search_section.py",
    "test_sentences.py",
    "test_signals.py",
    "test_store.py",
    "test_strength_measured.py",
    "test_strength_shown.py",
    "test_text.py",
    "test_text_asked.py",
    "test_text_search.py",
    "test_text_towers.py",
    "test_text_zero_shot.py",
    "test_timm.py",
    "test_worst_case.py",
}
SLOW_TESTS = {
    "test_a_bomb_goes_off_nowhere",
    "test_a_comparison_of_an_archive_out_of_order_keeps_each_images_rows_in_order",
    "test_a_hub_that_does_not_answer_is_one_line_within_20_seconds",
    "test_a_process_with_hostile_names",
    "test_a_study_has_its_rows_in_this_order_and_says_which_it_is",
    "test_an_image_that_ends_its_loader_is_tried_alone_and_then_a_failure",
    "test_an_image_that_is_well_at_the_second_try_is_measured",
    "test_brightness_contrast_is_a_line_through_mid_grey",
    "test_bytes_are_equal_in_another_process_and_after_a_journey",
    "test_bytes_are_equal_in_another_process_that_has_no_torch",
    "test_bytes_are_equal_in_another_process_with_any_number_of_threads",
    "test_compiled_is_equal_to_rounding_and_travels",
    "test_demo_measures_eight_photographs",
    "test_dry_run_writes_nothing_and_is_near",
    "test_every_figure_can_be_drawn_of_pairs_that_lack_some",
    "test_footers_are_read_once_a_report",
    "test_from_the_command_line_to_tables_made_again_without_torch",
    "test_importing_embedshift_imports_no_torch",
    "test_layers_skip_the_image_in_cka_and_the_view_in_shifts",
    "test_measures_import_no_tables_and_no_figures",
    "test_reading_and_rebuilding_tables_imports_no_torch",
    "test_rebuilds_everything_without_torch",
    "test_run_writes_a_report_once",
    "test_the_installed_command",
    "test_the_rows_of_a_study_do_not_depend_on_the_kind",
    "test_two_calls_and_another_process_give_the_same_bytes",
    "test_words_and_their_test_by_slow_loops",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the slow ones, and puts slow files first: if one of them began last, the other processes would wait."""
    for item in items:
        if Path(item.path).name in SLOW_FILES or item.name.split("[")[0] in SLOW_TESTS:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: Path(item.path).name not in SLOW_FILES)


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Roots of images and what is kept of encoders lie in folders of the tests, not in those of whoever runs them."""
    run = tmp_path_factory.getbasetemp()
    once.root = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "made-once"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("EMBEDSHIFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("COLUMNS", raising=False)  # the width of a terminal, by which tables lose columns
        # A report would start processes that import matplotlib; commands and tests/figures/test_render.py have them.
        patch.setattr("embedshift.figures.workers.cores", lambda: 1)
        remember_roots({"root": str(once.root)})
        yield


@pytest.fixture(scope="module", autouse=True)
def as_it_was_made() -> Iterator[None]:
    """No test changes what other files read."""
    yield
    assert once.changed() == []


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser, which ends with its module: Playwright keeps a running event loop, and takes one browser at a time."""
    from support.chromium import started

    with started() as instance:
        yield instance


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., command.Done]:
    """The command line: arguments → its exit code and what it printed."""

    def run(*arguments: object) -> command.Done:
        return command.call(monkeypatch, capsys, *arguments)

    return run

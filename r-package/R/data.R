#' Simulated choices, a fit of them, and a group model of the fit
#'
#' A two-armed bandit whose better arm changes halfway through each block:
#' 24 participants, half of them patients, whose learning rate is lower.
#' `example_trials` was fitted with [spice_fit()], and the fit analysed with
#' `spice_group(example_fit, ~ diagnosis + age)`. The script that made them is
#' `data-raw/example.R` in the source repository.
#'
#' @format `example_trials` is a tibble with one row per trial and the columns
#'   `participant`, `block`, `trial`, `choice` (0 or 1), `reward` (0 or 1),
#'   `diagnosis` (`control` or `patient`) and `age` (years). `example_fit` is a
#'   [spice_fit()] and `example_group` a [spice_group()].
#' @examples
#' example_trials
#' example_fit
#' tidy(example_group)
#' @name example_fit
#' @aliases example_trials example_group
#' @docType data
#' @keywords datasets
NULL

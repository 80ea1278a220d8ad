#' A small fit and a group model of it
#'
#' A simulated two-armed bandit: 24 participants, half of them with a diagnosis
#' that lowers the learning rate, fitted with [spice_fit()] and analysed with
#' `spice_group(example_fit, ~ diagnosis + age)`. The script that made them is
#' `data-raw/example.R` in the source repository.
#'
#' @format `example_fit` is a [spice_fit()] and `example_group` a
#'   [spice_group()].
#' @examples
#' example_fit
#' tidy(example_group)
#' @name example_fit
#' @aliases example_group
#' @docType data
#' @keywords datasets
NULL

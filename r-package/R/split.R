#' Fit with equations from some blocks and coefficients from the others
#'
#' A structure that is chosen on the choices from which its coefficients are estimated makes
#' their standard errors too small and effects too large: terms are in the equations because they looked
#' large. With separate blocks, coefficients are those of a structure that was fixed
#' beforehand, at the price of precision: standard errors are about `1 / sqrt(1 - share)`
#' as large, and the structure is found less reliably. Split where the mean of a term that was
#' just selected is the question. Tests of covariates need no splitting, as the structure
#' is chosen without looking at covariates.
#'
#' @param trials A data frame with one row per trial, or the path of one, as in [spice_fit()].
#' @param ... `participant`, `choice`, `reward` and all other arguments of [spice_fit()], in its order.
#' @param model As in [spice_fit()], but not `"history"`: the equations of a network are what is split here.
#' @param share Share of each participant's blocks, between 0 and 1, that the equations are
#'   discovered on, rounded; either part gets at least one block.
#' @param split_seed Whole number from 0, for dealing out the blocks.
#' @param halve_single Cut the block of participants who have only one in two, instead of
#'   refusing? The second piece then starts from the initial values, although its participant
#'   has learnt already; the more trials, the less that matters.
#' @return A [spice_fit()] whose trials are those of the estimation. Its `scores` are computed
#'   on them, so that those of network and equations are out of sample; `present` and
#'   `inclusion.prob` of its coefficients come from the discovery.
#' @references
#' Cox (1975), \doi{10.1093/biomet/62.2.441};
#' Rinaldo, Wasserman & G'Sell (2019), \doi{10.1214/18-AOS1784}.
#' @seealso [spice_update()], which estimates a fit's equations on trials that you choose.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   few <- subset(example_trials, participant %in% c("p01", "p02", "p03", "p04") & trial <= 25)
#'   spice_fit_split(few, participant, choice, reward, block = block, epochs = 50)
#' }
#' }
spice_fit_split <- function(trials, ..., model = "choice", share = 0.5, split_seed = 0, halve_single = FALSE) {
  call <- rlang::current_env()
  written <- match.call()
  check_flag(halve_single, "halve_single", call)
  split <- list(share = share, split_seed = whole_seed(split_seed, call), halve_single = halve_single)
  fit <- spice_fit(trials, ..., model = model, split = split)
  fit$call <- written
  fit
}

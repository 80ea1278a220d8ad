#' How reliably do coefficients tell people apart?
#'
#' Halves of the trials, or sessions, are estimated with the fit's equations,
#' and their estimates correlated. A group difference or a correlation can only
#' be found in what is reliable.
#'
#' Participants without an identified estimate in some half are left out
#' (`n.excluded`). With few trials these are people with extreme coefficients,
#' so that what is left differs less: read a reliability beside its
#' `n.excluded`. Split halves are rough: in simulated cohorts of 40 people with 200
#' trials they differed by .2 to .3 from the squared correlation of estimates and
#' truth, which their 95% intervals held in 60 to 90%; with 60 trials they
#' differed by .2 to .8.
#'
#' A fit with `model = "history"` has two more rows, of the component `kernel`: the
#' total influence of one reward and of one choice on the next twenty choices
#' ([spice_kernels()]), which weights of similar states make together. Its halves
#' are posterior means under the population of the fit, and nobody is left out.
#'
#' @param fit A [spice_fit()].
#' @param methods Any of `"odd_even"`, `"first_second"`, `"random"`: split
#'   halves, stepped up to all trials by Spearman-Brown. (`"model"` was
#'   withdrawn: standard errors depend on the estimates, and its values were far
#'   from the truth.)
#' @param unit What is split: whole blocks (`"block"`), or single choices
#'   (`"trial"`), for data with one block per participant.
#' @param sessions `NULL`, `"block"`, `"experiment"`, or the session of each
#'   block, such as `c("1" = "before", "2" = "before", "3" = "after")`; adds
#'   test-retest correlations.
#' @param n_splits Number of random splits.
#' @param conf_level Level of the intervals.
#' @param seed Whole number from 0. `NULL` draws one from R's random numbers, so
#'   that [set.seed()] decides.
#' @return An object of class `spice_reliability`, whose `tidy()` is a tibble
#'   with one row per coefficient and method: `component`, `term`, `method`,
#'   `estimate`, `conf.low`, `conf.high`, `n`, `n.excluded`. The estimate is `NaN`
#'   where too few participants are left.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) spice_reliability(example_fit, "odd_even")
#' }
spice_reliability <- function(fit, methods = c("odd_even", "first_second", "random"),
                              unit = c("block", "trial"), sessions = NULL, n_splits = 10, conf_level = 0.95,
                              seed = 0) {
  call <- rlang::current_env()
  check_fit(fit, call)
  settings <- list(
    methods = methods, unit = one_of(unit, c("block", "trial"), "unit", call), n_splits = n_splits,
    conf_level = check_level(conf_level), seed = whole_seed(seed, call)
  )
  options <- c(engine_options(settings, call), list(sessions = sent_sessions(sessions, call)))
  tables <- with_fit_folder(fit, function(folder) call_bridge("reliability", folder, options, call = call))
  structure(list(reliability = decode_table(tables$reliability)), class = "spice_reliability")
}

sent_sessions <- function(sessions, call) {
  if (is.null(sessions)) {
    return(NULL)
  }
  if (is.atomic(sessions) && rlang::is_named(sessions)) {
    return(list(block = as.list(enc2utf8(names(sessions))), session = as.list(enc2utf8(as.character(sessions)))))
  }
  if (!rlang::is_string(sessions)) {
    abort_spicestat(
      "config", "`sessions` must be \"block\", \"experiment\", or text with the names of blocks.",
      call = call
    )
  }
  sessions
}

#' @rdname spice_reliability
#' @param x A `spice_reliability`.
#' @param ... Not used; anything here is an error.
#' @export
tidy.spice_reliability <- function(x, ...) {
  check_dots(...)
  table <- with_broom_names(x$reliability)
  names(table)[names(table) == "reliability"] <- "estimate"
  table[setdiff(names(table), "conf.level")]
}

#' @rdname spice_reliability
#' @export
format.spice_reliability <- function(x, ...) {
  check_dots(...)
  table <- tidy(x)
  level <- x$reliability$conf_level[1]
  c(paste0("<spice_reliability> with ", 100 * level, "% intervals"), "", text_table(table))
}

#' @rdname spice_reliability
#' @export
print.spice_reliability <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

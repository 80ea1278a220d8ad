#' What does one reward, or one choice, do to the next choices?
#'
#' The kernel at lag k is the change of the log odds of repeating an action, k
#' choices after something about it changed: its reward from the lowest to the
#' highest of the data (`"reward"`), or the choice from another action to this
#' one (`"choice"`). Everything else stays as it was observed, and the change is
#' averaged over the trials of each participant's own history. Kernels are
#' comparable across structures, where single weights of similar states are not.
#'
#' A search could have found other states. With `structure = "averaged"`, kernels
#' are averages over the fit's own states and those of eight searches without an
#' eighth of the participants each, and the standard errors hold what differs
#' between them.
#'
#' A group model of such a fit has kernels at each level of a covariate (of a
#' number, at its mean minus and plus one standard deviation), and how these
#' differ: with the weights that the model predicts, everybody's own deviations and the
#' histories that everybody had, which are the same for all levels. Standard errors
#' are those of all effects together. The fit's states are taken as known there: a
#' state that the search missed, or gave everybody the same weight of, shows no difference;
#' where that is so of all states that the event changes, contrasts are `NA`, with a warning.
#' With `average = TRUE` the same group model is fitted with each of the structures above, and
#' kernels are averages over these, with the variance between them in all intervals (Burnham & Anderson
#' 2004, <https://doi.org/10.1177/0049124104268644>). Structures that know nothing of differences, or whose
#' group model is withheld, do not count.
#'
#' @param x A [spice_fit()] with `model = "history"`, or a [spice_group()] of
#'   one, by a method that estimates all coefficients together, such as
#'   `"hierarchical"`.
#' @param events Any of `"reward"`, `"choice"`.
#' @param lags How many choices after the event; blocks end them.
#' @param conf_level Level of the intervals; `NULL` is that of the group model.
#' @param events_per_person About how many trials of each participant are
#'   changed, spread evenly over the blocks.
#' @param structure `"averaged"` repeats the search eight times, which takes about
#'   five times as long as the fit. `"given"` takes the fit's states as known, as
#'   they are anyway with fewer than six participants and after [spice_update()].
#' @param average Whether to average kernels of a group model over plausible structures. The searches
#'   take about six times as long as the fit, and each structure as long as the group model.
#' @param covariate A covariate of the formula, as a bare name or text; by default the first.
#' @param fit The fit that the group model is of. By default, what the model's
#'   call names as its fit, looked up where `spice_kernels()` is called.
#' @return An object of class `spice_kernels`. Its `tidy()` is a tibble:
#'   * `"lags"`: `event`, `scope` (`"population"` or `"participant"`), `level` (the
#'     participant's id), `lag`, `estimate` (log odds), `std.error`, `conf.low`,
#'     `conf.high`, `n.events`;
#'   * `"influence"`: for each `quantity`, `"total"` (the sum over lags, log odds),
#'     `"half_life"` (lag by which half of it has come) and `"learning_rate"` (one
#'     minus the ratio of successive lags). The last two are `NA` where a kernel
#'     has both signs.
#'
#'   Of a group model it is a `spice_group_kernels`, whose `tidy()` has `event`,
#'   `quantity` (`"kernel"`, or as above), `variable`, `level` or `contrast` (`"yes - no"`,
#'   `"slope"`), `lag`, `estimate`, `std.error`, `df`, `conf.low`, `conf.high`. With `average = TRUE` also
#'   `n.structures`, how many structures these are averages over, and, with the fit's own structure taken
#'   as known, `given.estimate`, `given.std.error`, `given.conf.low`, `given.conf.high`.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   cohort <- spice_simulate(n_participants = 20, n_trials = 120, seed = 1)
#'   fit <- spice_fit(cohort$trials, participant, choice, reward,
#'     block = block, trial = trial, people = cohort$people
#'   )
#'   kernels <- spice_kernels(fit, lags = 10)
#'   tidy(kernels, what = "influence")
#'   autoplot(kernels)
#'
#'   group <- spice_group(fit, ~diagnosis)
#'   spice_kernels(group, diagnosis)
#' }
#' }
spice_kernels <- function(x, ...) {
  UseMethod("spice_kernels")
}

#' @export
spice_kernels.default <- function(x, ...) {
  check_dots(...)
  check_fit(x, rlang::current_env())
}

#' @rdname spice_kernels
#' @export
spice_kernels.spice_fit <- function(x, events = c("reward", "choice"), lags = 20, conf_level = 0.95,
                                    events_per_person = 60, structure = c("averaged", "given"), ...) {
  call <- rlang::current_env()
  check_dots(...)
  settings <- list(
    lags = lags, conf_level = check_level(conf_level), events_per_person = events_per_person,
    structure = one_of(structure, c("averaged", "given"), "structure", call)
  )
  options <- c(engine_options(settings, call), list(events = kernel_events(events)))
  tables <- with_fit_folder(x, function(folder) call_bridge("kernels", folder, options, call = call))
  structure(
    list(lags = decode_table(tables$lags), influence = decode_table(tables$influence), conf_level = conf_level),
    class = "spice_kernels"
  )
}

#' @rdname spice_kernels
#' @export
spice_kernels.spice_group <- function(x, covariate = NULL, fit = NULL, events = c("reward", "choice"), lags = 20,
                                      conf_level = NULL, events_per_person = 60, average = FALSE, ...) {
  call <- rlang::current_env()
  check_dots(...)
  if (!rlang::is_bool(average)) abort_spicestat("config", "`average` must be TRUE or FALSE.", call = call)
  fit <- fit_of_group(x, fit, parent.frame(), call)
  covariate <- covariate_of(x, rlang::enquo(covariate), call)
  level <- if (is.null(conf_level)) x$coefficients$conf_level[[1]] else check_level(conf_level)
  settings <- list(lags = lags, conf_level = level, events_per_person = events_per_person, average = average)
  options <- c(engine_options(settings, call), list(events = kernel_events(events)))
  group <- sent_estimates(x, call)
  if (average) group$refit <- x$design$refit
  levels <- kernel_levels(x, covariate)
  tables <- with_fit_folder(fit, function(folder) {
    call_bridge("group_kernels", folder, group, levels, options, call = call)
  })
  structure(list(kernels = decode_table(tables$kernels), variable = covariate), class = "spice_group_kernels")
}

kernel_events <- function(events) {
  as.list(rlang::arg_match(events, c("reward", "choice"), multiple = TRUE))
}

#' The fit that a group model is of, as its call names it
#' @noRd
fit_of_group <- function(group, fit, env, call) {
  if (is.null(fit)) fit <- tryCatch(eval(group$call$fit, env), error = function(error) NULL)
  if (!inherits(fit, "spice_fit")) {
    abort_spicestat("config", paste0(
      "kernels need the fit that the group model is of. Got: ", class(fit)[[1]], ". Try: pass it as `fit`."
    ), call = call)
  }
  fit
}

#' What the engine reads of a group model
#' @noRd
sent_estimates <- function(group, call) {
  fixed <- group$coefficients[group$coefficients$effect == "fixed", ]
  names <- paste(fixed$module, fixed$sparse_term, fixed$term, sep = ":")
  link <- link_of(group, fixed$module, fixed$sparse_term)
  linked <- which(link != "identity")
  known <- !is.null(group$joint_covariance) && all(names %in% rownames(group$joint_covariance))
  Filter(Negate(is.null), list(
    formula = enc2utf8(group$formula), method = group$method, conf_level = group$coefficients$conf_level[[1]],
    coefficients = encode_table(group$coefficients, call = call),
    ran_vals = if (!is.null(group$ran_vals)) encode_table(group$ran_vals, call = call),
    joint_covariance = if (known) sent_matrix(group$joint_covariance[names, names, drop = FALSE]),
    links = lapply(linked, function(row) list(fixed$module[row], fixed$sparse_term[row], link[row]))
  ))
}

#' Levels of a covariate, with the mean row of the design of each
#' @noRd
kernel_levels <- function(group, covariate) {
  own <- model_data(group)[[covariate]]
  if (is_category(own)) {
    values <- sort(unique(own))
    labels <- as.character(values)
    contrasts <- paste(labels[-1], "-", labels[1])
    weights <- cbind(-1, diag(length(contrasts)))
  } else {
    values <- mean(own) + c(-1, 1) * stats::sd(own)
    labels <- c("-1 SD", "+1 SD")
    contrasts <- "slope"
    weights <- rbind(c(-1, 1)) / (2 * stats::sd(own))
  }
  rows <- mean_rows(group, stats::setNames(list(values), covariate))
  list(
    variable = enc2utf8(covariate), labels = as_vector(enc2utf8(labels)), rows = sent_matrix(rows),
    names = as_vector(enc2utf8(colnames(rows))), contrasts = as_vector(enc2utf8(contrasts)),
    weights = sent_matrix(weights)
  )
}

#' @rdname spice_kernels
#' @param object A `spice_kernels`, or a `spice_group_kernels`.
#' @param what `"lags"` or `"influence"`.
#' @param ... Not used; for `plot()`, passed on to `autoplot()`.
#' @export
tidy.spice_kernels <- function(x, what = c("lags", "influence"), ...) {
  check_dots(...)
  table <- with_broom_names(x[[rlang::arg_match(what)]])
  names(table)[names(table) == "participant"] <- "level"
  table$level <- label_text(table$level)
  table
}

#' @rdname spice_kernels
#' @export
format.spice_kernels <- function(x, ...) {
  check_dots(...)
  table <- tidy(x, "influence")
  ours <- table[table$scope == "population", setdiff(names(table), c("scope", "level"))]
  title <- paste0(
    "<spice_kernels> over ", max(x$lags$lag), " choices, ", 100 * x$conf_level, "% intervals, population"
  )
  c(title, "", text_table(ours), kernel_notes(ours))
}

#' Why some quantities of kernels are missing
#' @noRd
kernel_notes <- function(table) {
  lacks <- is.na(table$estimate) & table$quantity %in% c("half_life", "learning_rate")
  if (any(lacks)) {
    strwrap("NA: a kernel that is positive at some lags and negative at others has no half-life and no learning rate.",
      width = getOption("width"), exdent = 2
    )
  }
}

#' @rdname spice_kernels
#' @export
print.spice_kernels <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname spice_kernels
#' @export
autoplot.spice_kernels <- function(object, ...) { # nolint: object_name_linter.
  check_dots(...)
  table <- tidy(object)
  ours <- table[table$scope == "population" & !is.na(table$estimate), ]
  ours$event <- factor(ours$event, levels = unique(ours$event))
  ggplot2::ggplot(ours, ggplot2::aes(.data$lag, .data$estimate)) +
    ggplot2::geom_hline(yintercept = 0, colour = "grey65", linewidth = 0.4) +
    ggplot2::geom_ribbon(
      ggplot2::aes(ymin = .data$conf.low, ymax = .data$conf.high),
      fill = state_colours[["estimated"]], alpha = 0.25
    ) +
    ggplot2::geom_line(colour = state_colours[["estimated"]]) +
    ggplot2::geom_point(colour = state_colours[["estimated"]], size = 1.3) +
    ggplot2::facet_wrap(~event, labeller = ggplot2::as_labeller(function(event) paste("one", event))) +
    ggplot2::labs(
      x = "Choices after it",
      y = upright_label(paste0("Change in log odds of repeating, ", 100 * object$conf_level, "% interval"))
    ) +
    plot_theme()
}

#' @rdname spice_kernels
#' @export
plot.spice_kernels <- function(x, ...) {
  print(autoplot(x, ...))
  invisible(x)
}

#' @rdname spice_kernels
#' @export
tidy.spice_group_kernels <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$kernels)
}

#' @rdname spice_kernels
#' @export
format.spice_group_kernels <- function(x, ...) {
  check_dots(...)
  table <- tidy(x)
  title <- paste0(
    "<spice_group_kernels> by ", x$variable, " over ", max(table$lag, na.rm = TRUE), " choices, ",
    100 * table$conf.level[[1]], "% intervals"
  )
  shown <- table[table$quantity != "kernel", ]
  shown[[x$variable]] <- ifelse(is.na(shown$level), shown$contrast, shown$level)
  columns <- c("event", "quantity", x$variable, "estimate", "std.error", "conf.low", "conf.high")
  if ("n.structures" %in% names(shown)) {
    title <- paste0(title, ", averaged over ", max(shown$n.structures), " structures (given: by the fit's own)")
    columns <- c(setdiff(columns, "std.error"), "given.conf.low", "given.conf.high")
  }
  c(title, "", text_table(shown[columns]), kernel_notes(shown))
}

#' @rdname spice_kernels
#' @export
print.spice_group_kernels <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname spice_kernels
#' @export
autoplot.spice_group_kernels <- function(object, ...) { # nolint: object_name_linter.
  check_dots(...)
  table <- tidy(object)
  ours <- table[table$quantity == "kernel" & !is.na(table$level) & !is.na(table$estimate), ]
  for (name in c("event", "level")) ours[[name]] <- factor(ours[[name]], levels = unique(ours[[name]]))
  ggplot2::ggplot(ours, ggplot2::aes(.data$lag, .data$estimate, colour = .data$level, fill = .data$level)) +
    ggplot2::geom_hline(yintercept = 0, colour = "grey65", linewidth = 0.4) +
    ggplot2::geom_ribbon(
      ggplot2::aes(ymin = .data$conf.low, ymax = .data$conf.high),
      alpha = 0.2, colour = NA
    ) +
    ggplot2::geom_line() +
    ggplot2::geom_point(size = 1.3) +
    ggplot2::facet_wrap(~event, labeller = ggplot2::as_labeller(function(event) paste("one", event))) +
    level_scale(object$variable, nlevels(ours$level)) +
    ggplot2::labs(
      x = "Choices after it",
      y = upright_label(paste0("Change in log odds of repeating, ", 100 * ours$conf.level[[1]], "% interval"))
    ) +
    plot_theme()
}

#' @rdname spice_kernels
#' @export
plot.spice_group_kernels <- function(x, ...) {
  print(autoplot(x, ...))
  invisible(x)
}

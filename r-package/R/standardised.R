# Effects in units that can be compared over coefficients and studies, as Python's GroupResult.standardised() has them.

#' Standardised effects of covariates
#'
#' With `b` an effect, `s` its standard error, `df` its degrees of freedom, and `tau` the
#' standard deviation between participants that the covariates leave:
#' * `"residual"`: `b / tau`, for a factor Cohen's d with the standard deviation within
#'   groups. Its variance is `s^2 / tau^2` plus what `tau` itself is uncertain by. With
#'   `small_sample` it is Hedges' g.
#' * `"total"`: the standardised regression coefficient, `b * sd(x) / T`, where `T` is the
#'   standard deviation of the participants' true coefficients over the covariates of the sample.
#'   For a factor `sd(x)` is 1, and in an interaction of the two it is the number's.
#' * `"partial_r"`: the partial correlation `t / sqrt(t^2 + df)`, with the interval of
#'   Fisher's z.
#'
#' `tau` and `T` are of true coefficients, without the sampling error of the estimates, for
#' methods that know it (`"meta"`, `"metafor"`, `"hierarchical"`). For `"ols"`, `"mixed"`,
#' `"lme4"` and `"glmmTMB"` they contain it, so that the effects are too small. With a link, all are on its
#' scale. These functions need no Python.
#'
#' @param group A [spice_group()], for all but `"partial_r"` without random parts.
#' @param kind `"residual"`, `"total"` or `"partial_r"`.
#' @param small_sample For `"residual"`: multiply effects and errors by Hedges' correction
#'   for small samples?
#' @param conf_level Level of the intervals, between 0 and 1; `NULL` takes that of the analysis.
#' @return A tibble with one row per coefficient and effect but the intercepts: `component`,
#'   `sparse.term`, `term`, `kind`, `estimate`, `std.error`, `df`, `conf.low`, `conf.high` (`NA` where
#'   inference is withheld). Estimates are `NA` where no spread between participants was found or the method has none.
#' @references
#' Hedges (1981), \doi{10.3102/10769986006002107};
#' Nakagawa & Cuthill (2007), \doi{10.1111/j.1469-185X.2007.00027.x}.
#' @export
#' @examples
#' spice_standardised(example_group)
#' spice_standardised(example_group, "partial_r")
spice_standardised <- function(group, kind = c("residual", "total", "partial_r"), small_sample = FALSE,
                               conf_level = NULL) {
  call <- rlang::current_env()
  check_group(group, call)
  kind <- one_of(kind, c("residual", "total", "partial_r"), "kind", call)
  check_flag(small_sample, "small_sample", call)
  if (small_sample && kind != "residual") {
    abort_spicestat("config", "`small_sample` is for kind = \"residual\".", call = call)
  }
  if (kind != "partial_r") refuse_parts(group, call)
  level <- if (is.null(conf_level)) group$coefficients$conf_level[[1]] else check_level(conf_level, call)
  standardise <- switch(kind,
    residual = function(table) by_residual(group, table, small_sample, level),
    total = function(table) by_total(group, table, level),
    partial_r = function(table) by_correlation(table, level)
  )
  parts <- lapply(split_effects(tidy(group, conf.int = TRUE), call), function(table) {
    found <- standardise(table)
    found[is.na(table$p.value) & is.na(table$conf.low), interval] <- NA_real_
    cbind(table[c("component", "sparse.term", "term")], kind = kind, found)[table$term != "(Intercept)", ]
  })
  tibble::as_tibble(do.call(rbind, unname(parts)))
}

check_group <- function(group, call) {
  if (!inherits(group, "spice_group")) {
    abort_spicestat("config", paste0("`group` must come from spice_group(), not be a ", class(group)[[1]], "."),
      call = call
    )
  }
}

by_residual <- function(group, table, small_sample, level) {
  spread <- spread_of(group, table)
  if (!isTRUE(spread$estimate > 0)) spread$estimate <- NA_real_
  factor <- if (small_sample) hedges_correction(table$df) else 1
  d <- table$estimate / spread$estimate
  error <- sqrt(table$std.error^2 / spread$estimate^2 + (d * spread$std.error / spread$estimate)^2)
  t_rows(factor * d, factor * error, table$df, level)
}

#' T depends on all effects and on the spread, and so does its error
#' @noRd
by_total <- function(group, table, level) {
  design <- known_design(group)
  own <- match(table$term, design$columns)
  moments <- stats::cov(matrix_for(design, design$frame))[own, own, drop = FALSE]
  scales <- column_scales(design)[own]
  spread <- spread_of(group, table)
  b <- table$estimate
  total <- sqrt(spread$estimate^2 + sum(b * (moments %*% b)))
  if (!isTRUE(total > 0)) total <- NA
  estimate <- scales * b / total
  jacobian <- diag(scales / total, length(b)) - outer(estimate, as.vector(moments %*% b)) / total^2
  # a spread of 0 has no error of its own, but then T does not depend on it to first order
  by_spread <- if (isTRUE(spread$estimate > 0)) spread$estimate * spread$std.error / total^2 else 0
  names <- effect_names(table)
  covariance <- stats::vcov(group)[names, names, drop = FALSE]
  error <- sqrt(rowSums((jacobian %*% covariance) * jacobian) + (estimate * by_spread)^2)
  t_rows(estimate, error, table$df, level)
}

by_correlation <- function(table, level) {
  df <- ifelse(is.finite(table$df) & table$df > 1, table$df, NA)
  t <- table$estimate / table$std.error
  r <- t / sqrt(t^2 + df)
  half <- stats::qnorm((1 + level) / 2) / sqrt(df - 1)
  data.frame(
    estimate = r, std.error = (1 - r^2) / sqrt(df - 1), df = table$df,
    conf.low = tanh(atanh(r) - half), conf.high = tanh(atanh(r) + half)
  )
}

t_rows <- function(estimate, std_error, df, level) {
  half <- stats::qt((1 + level) / 2, df) * std_error
  data.frame(
    estimate = estimate, std.error = std_error, df = df, conf.low = estimate - half, conf.high = estimate + half
  )
}

#' By how much Cohen's d is too large in small samples
#' @noRd
hedges_correction <- function(df) {
  ifelse(is.infinite(df), 1, exp(lgamma(df / 2) - lgamma((df - 1) / 2)) / sqrt(df / 2))
}

#' Standard deviation between participants that covariates leave for one coefficient, with its standard error
#'
#' The error is the method's own, or from that of the variance, or else that of a normal sample's standard deviation.
#' @noRd
spread_of <- function(group, table) {
  key <- function(rows) rows$module %in% table$component[1] & rows$sparse_term %in% table$sparse.term[1]
  rows <- group$coefficients[key(group$coefficients), ]
  rows <- rows[rows$effect == "ran_pars" & rows$term %in% c("sd__(Intercept)", "sd__Observation"), ]
  sd <- if (nrow(rows) > 0) sqrt(sum(rows$estimate^2)) else NA_real_
  fit <- group$glance[key(group$glance), ]
  knows <- nrow(fit) == 1 && isTRUE(all.equal(fit$tau_squared, sd^2, tolerance = 1e-5))
  df <- min(table$df)
  errors <- c(
    if (nrow(rows) == 1) rows$std_error, if (knows) fit$tau_squared_se / (2 * sd),
    if (is.finite(df)) sd / sqrt(2 * df)
  )
  list(estimate = sd, std.error = errors[is.finite(errors)][1])
}

#' Standard deviation of the numeric part of each column of a design; 1 where there is none
#' @noRd
column_scales <- function(design) {
  numbers <- numeric_parts(design)
  spread <- apply(numbers, 2, stats::sd)
  ifelse(colSums(numbers != 1) == 0, 1, spread)
}

#' A design in which all categories count 1, so that an interaction of one with a number is the number
#' @noRd
numeric_parts <- function(design) {
  frame <- frame_for(design, design$frame)
  pattern <- attr(design$terms, "factors")
  categories <- vapply(frame, is_category, NA)
  coded <- which(pattern > 0 & categories[rownames(pattern)], arr.ind = TRUE)
  # without an intercept, the first category has a column for each level
  if (attr(design$terms, "intercept") == 0 && nrow(coded) > 0) pattern[coded[1, "row"], coded[1, "col"]] <- 2
  of_term <- function(label) {
    of <- rownames(pattern)[pattern[, label] > 0]
    Reduce(products, lapply(of, function(name) {
      if (!categories[[name]]) {
        return(as.matrix(frame[[name]]))
      }
      matrix(1, nrow(frame), category_columns(design, name, frame[[name]], pattern[name, label]))
    }))
  }
  parts <- lapply(colnames(pattern), of_term)
  do.call(cbind, c(if (attr(design$terms, "intercept") == 1) list(rep(1, nrow(frame))), parts))
}

#' How many columns a category has: one for each level, or those of its contrasts
#' @noRd
category_columns <- function(design, name, values, coding) {
  contrasts <- design$contrasts[[name]]
  if (coding == 1 && is.matrix(contrasts)) {
    return(ncol(contrasts))
  }
  levels <- design$xlevels[[name]]
  length(if (is.null(levels)) unique(values) else levels) - (coding == 1)
}

#' Products of all pairs of columns, those of the first matrix fastest, as model.matrix() orders them
#' @noRd
products <- function(first, second) {
  pairs <- expand.grid(a = seq_len(ncol(first)), b = seq_len(ncol(second)))
  first[, pairs$a, drop = FALSE] * second[, pairs$b, drop = FALSE]
}

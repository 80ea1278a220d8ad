# From the estimates of an engine in R to the tables of a group model: tests, adjustment, intervals, the gate.
# The rules are those of spicestat/group/inference/rows.py.

coefficient_columns <- c(
  "module", "sparse_term", "effect", "group", "level", "term", "estimate", "std_error", "statistic", "df",
  "p_value", "p_adjusted", "conf_low", "conf_high", "conf_level"
)
glance_columns <- c(
  "module", "sparse_term", "nobs", "tau_squared", "tau_squared_se", "i_squared", "h_squared", "cochran_qe",
  "p_value_cochran_qe", "cochran_qm", "p_value_cochran_qm", "df_residual", "log_lik", "aic", "bic", "n_excluded",
  "share_unidentified", "withheld", "converged", "contradictions", "method", "formula"
)
adjustments <- c("BH", "BY", "holm", "bonferroni", "maxT", "none")

#' Rows of a group model, with exactly the columns of the engine's
#'
#' @param found What an engine returns: `fixed`, `ran_pars`, `glance`,
#'   `covariance` (one matrix per equation), `joint_covariance` (or `NULL`).
#' @noRd
coefficient_rows <- function(found, glance, design, adjust, conf_level, call) {
  fixed <- found$fixed
  fixed$effect <- "fixed"
  hidden <- equation_withheld(fixed, glance)
  if (is.null(fixed$p_value)) {
    fixed$statistic <- fixed$estimate / ifelse(fixed$std_error > 0, fixed$std_error, NA)
    fixed$p_value <- 2 * stats::pt(-abs(fixed$statistic), fixed$df)
    half <- stats::qt((1 + conf_level) / 2, fixed$df) * fixed$std_error
    fixed$conf_low <- fixed$estimate - half
    fixed$conf_high <- fixed$estimate + half
  }
  fixed[hidden, c("p_value", "conf_low", "conf_high")] <- NA_real_
  fixed$p_adjusted <- adjusted_p(fixed, design, adjust, found$joint_covariance, call)
  spread <- found$ran_pars
  if (!is.null(spread)) spread$effect <- "ran_pars"
  rows <- rbind(with_columns(fixed, coefficient_columns), with_columns(spread, coefficient_columns))
  rows$conf_level <- conf_level
  tibble::as_tibble(rows)
}

#' Is inference on a row's equation withheld? A joint model withholds all or none.
#' @noRd
equation_withheld <- function(fixed, glance) {
  if (anyNA(glance$module)) {
    return(rep(any(glance$withheld), nrow(fixed)))
  }
  glance$withheld[match(paste(fixed$module, fixed$sparse_term), paste(glance$module, glance$sparse_term))]
}

text_columns <- c("module", "sparse_term", "effect", "group", "level", "term", "method", "formula")

with_columns <- function(table, columns) {
  if (is.null(table)) {
    return(NULL)
  }
  for (name in setdiff(columns, names(table))) {
    table[[name]] <- rep(if (name %in% text_columns) NA_character_ else NA_real_, nrow(table))
  }
  as.data.frame(table)[columns]
}

#' P-values adjusted within each term of the formula, over all coefficients of the equations
#' @noRd
adjusted_p <- function(fixed, design, adjust, joint_covariance, call) {
  family <- design$assign[match(fixed$term, colnames(design$matrix))]
  if (adjust == "maxT") {
    return(max_t_p(fixed, family, joint_covariance, call))
  }
  stats::ave(fixed$p_value, family, FUN = function(p) stats::p.adjust(p, adjust))
}

#' Probability that the largest statistic of a family exceeds each one
#' @noRd
max_t_p <- function(fixed, family, joint_covariance, call) {
  if (is.null(joint_covariance)) {
    abort_spicestat("config", paste0(
      "adjust = \"maxT\" needs the covariance of all effects together. Try: use a method that has one, such ",
      "as \"hierarchical\", \"lme4\" or \"metafor\" with joint = TRUE, or another adjustment."
    ), call = call)
  }
  need_package("mvtnorm", "adjust = \"maxT\"", call)
  adjusted <- rep(NA_real_, nrow(fixed))
  usable <- is.finite(fixed$p_value)
  names <- paste(fixed$module, fixed$sparse_term, fixed$term, sep = ":")
  for (one in unique(family[usable])) {
    rows <- which(usable & family == one)
    correlation <- stats::cov2cor(joint_covariance[names[rows], names[rows], drop = FALSE])
    adjusted[rows] <- largest_of(abs(fixed$statistic[rows]), correlation, fixed$df[rows])
  }
  adjusted
}

largest_of <- function(statistics, correlation, df) {
  if (length(statistics) == 1) {
    return(2 * stats::pt(-statistics, df))
  }
  # one t distribution for all: the widest, which never gives a smaller p
  df <- if (any(is.finite(df))) max(1, floor(min(df))) else 0
  vapply(statistics, function(t) {
    inside <- mvtnorm::pmvt(rep(-t, length(statistics)), rep(t, length(statistics)), df = df, corr = correlation)
    min(1, max(1 - inside, if (df > 0) 2 * stats::pt(-t, df) else 2 * stats::pnorm(-t)))
  }, 0)
}

#' One row per equation (or one for a joint model), with the columns of the engine's
#' @noRd
glance_rows <- function(glance, max_unidentified, method, formula) {
  extra <- setdiff(names(glance), glance_columns)
  # draws say themselves how far they are from convergence
  stuck <- if (is.null(glance$rhat)) !glance$converged else FALSE
  glance$withheld <- glance$share_unidentified > max_unidentified | stuck
  # only the engine looks for some
  glance$contradictions <- rep("", nrow(glance))
  glance$method <- method
  glance$formula <- formula
  rows <- cbind(with_columns(glance, glance_columns), glance[extra])
  rows[rows$withheld, c("p_value_cochran_qe", "p_value_cochran_qm")] <- NA_real_
  tibble::as_tibble(rows)
}

withheld_start <- "p-values and intervals are withheld: "

#' Why the inference of a group model is withheld
#' @noRd
withheld_because <- function(group) {
  reasons <- substring(group$messages[startsWith(group$messages, withheld_start)], nchar(withheld_start) + 1)
  if (length(reasons) == 0) reasons <- "too few participants have an identified estimate"
  paste0(paste(reasons, collapse = "; "), ".")
}

#' Warn of what the reader must know at once, and return why inference is withheld
#' @noRd
warn_about <- function(glance, max_unidentified) {
  share <- max(glance$share_unidentified)
  reasons <- c()
  if (share > max_unidentified) {
    reasons <- c(identifiability = sprintf(
      paste(
        "%.0f %% of the participants have an estimate at a bound, without",
        "convergence or without a standard error (limit %g %%), and inference would not be calibrated. More trials",
        "per participant, a simpler equation or a hierarchical model would help"
      ),
      100 * share, 100 * max_unidentified
    ))
  }
  stuck <- glance[!glance$converged, ]
  if (nrow(stuck) > 0) {
    names <- if (anyNA(stuck$module)) "all terms" else paste(stuck$module, stuck$sparse_term, sep = " / ")
    reasons <- c(reasons, convergence = paste0(
      "the group model did not converge for ", paste(names, collapse = ", "),
      ". A simpler formula or fewer terms would help"
    ))
  }
  withheld <- if (any(glance$withheld)) paste0(withheld_start, reasons) else character()
  said <- if (any(glance$withheld)) withheld else reasons
  for (k in seq_along(said)) warn_spicestat(names(reasons)[k], paste0(said[k], "."))
  withheld
}

#' Covariance of each equation's effects as a long table
#' @noRd
long_covariance <- function(blocks, equations) {
  rows <- Map(function(block, equation) {
    grid <- expand.grid(column = colnames(block), row = rownames(block), stringsAsFactors = FALSE)
    data.frame(
      module = equation$module, sparse_term = equation$sparse_term, row = grid$row, column = grid$column,
      value = as.vector(t(block))
    )
  }, blocks, equations[names(blocks)])
  rows <- do.call(rbind, unname(rows))
  if (is.null(rows)) no_covariance() else tibble::as_tibble(rows)
}

no_covariance <- function() {
  tibble::tibble(
    module = character(), sparse_term = character(), row = character(), column = character(), value = double()
  )
}

# Tables of a model that one of R's packages fits to all coefficients together.

#' Fixed effects, by equation; degrees of freedom are those of the separate regressions unless given
#' @noRd
joint_fixed <- function(estimate, std_error, problem, df = NULL) {
  p <- ncol(problem$design$matrix)
  own <- vapply(problem$equations, function(equation) length(equation$rows) - p, 0)
  data.frame(
    module = rep(vapply(problem$equations, `[[`, "", "module"), each = p),
    sparse_term = rep(vapply(problem$equations, `[[`, "", "sparse_term"), each = p),
    term = rep(colnames(problem$design$matrix), length(problem$equations)),
    estimate = unname(estimate), std_error = unname(std_error),
    # scales and covariances are estimated from an equation's own residuals, which pooling does not make more
    df = pmin(if (is.null(df)) Inf else df, if (identical(df, Inf)) Inf else rep(unname(own), each = p))
  )
}

covariance_blocks <- function(covariance, problem) {
  p <- ncol(problem$design$matrix)
  blocks <- lapply(seq_along(problem$equations), function(k) {
    rows <- (k - 1) * p + seq_len(p)
    block <- covariance[rows, rows, drop = FALSE]
    dimnames(block) <- rep(list(colnames(problem$design$matrix)), 2)
    block
  })
  stats::setNames(blocks, names(problem$equations))
}

#' Standard deviations, and correlations under the earlier equation of each pair
#' @noRd
joint_spread <- function(sigma, equations) {
  sd <- sqrt(pmax(diag(as.matrix(sigma)), 0))
  rows <- lapply(seq_along(equations), function(k) {
    later <- seq_along(equations)[seq_along(equations) > k]
    correlation <- sigma[k, later] / (sd[k] * sd[later])
    row_of(equations[[k]],
      group = "participant",
      term = c("sd__(Intercept)", paste0(rep("cor__(Intercept).", length(later)), names(equations)[later])),
      estimate = c(sd[k], ifelse(is.finite(correlation), correlation, NA))
    )
  })
  do.call(rbind, rows)
}

#' Counts for the one row of glance
#' @noRd
joint_counts <- function(problem) {
  in_model <- unique(unlist(lapply(problem$equations, `[[`, "rows")))
  data.frame(
    n_excluded = length(problem$cells$participants) - length(in_model),
    share_unidentified = max(vapply(problem$equations, `[[`, 0, "share_unidentified"))
  )
}

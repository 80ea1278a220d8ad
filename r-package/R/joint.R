# Tables of a model that one of R's packages fits to all coefficients together.

#' Fixed effects, by equation; degrees of freedom are those of the separate regressions unless given
#' @noRd
joint_fixed <- function(estimate, std_error, inputs, df = NULL) {
  p <- ncol(inputs$design$matrix)
  own <- vapply(inputs$equations, function(equation) length(equation$rows) - p, 0)
  data.frame(
    module = rep(vapply(inputs$equations, `[[`, "", "module"), each = p),
    sparse_term = rep(vapply(inputs$equations, `[[`, "", "sparse_term"), each = p),
    term = rep(colnames(inputs$design$matrix), length(inputs$equations)),
    estimate = unname(estimate), std_error = unname(std_error),
    # scales and covariances are estimated from an equation's own residuals, which pooling does not make more
    df = pmin(if (is.null(df)) Inf else df, if (identical(df, Inf)) Inf else rep(unname(own), each = p))
  )
}

covariance_blocks <- function(covariance, inputs) {
  p <- ncol(inputs$design$matrix)
  blocks <- lapply(seq_along(inputs$equations), function(k) {
    rows <- (k - 1) * p + seq_len(p)
    block <- covariance[rows, rows, drop = FALSE]
    dimnames(block) <- rep(list(colnames(inputs$design$matrix)), 2)
    block
  })
  stats::setNames(blocks, names(inputs$equations))
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
joint_counts <- function(inputs) {
  in_model <- unique(unlist(lapply(inputs$equations, `[[`, "rows")))
  data.frame(
    n_excluded = length(inputs$cells$participants) - length(in_model),
    share_unidentified = max(vapply(inputs$equations, `[[`, 0, "share_unidentified"))
  )
}

#' Sentences about numbers that others are multiplied with and that nobody has 0 of
#'
#' With drug * anxiety the row of the drug is its effect on people of anxiety 0, which may be far from all of them. The
#' engine says the same of its own models.
#' @noRd
effects_at_zero <- function(design) {
  in_term <- attr(design$terms, "factors")
  labels <- colnames(in_term)
  unlist(lapply(seq_along(labels), function(k) {
    values <- design$matrix[, design$assign == k]
    partners <- setdiff(partners_of(labels[[k]], in_term), labels[[k]])
    beside_zero <- !is.matrix(values) && (min(values) > 0 || max(values) < 0) && min(values) < max(values)
    if (!beside_zero || length(partners) == 0) {
      return(NULL)
    }
    paste0(
      "rows of ", paste(partners, collapse = ", "), " are effects where ", labels[[k]], " is 0, which nobody has (",
      paste(sprintf("%.4g", range(values)), collapse = " to "), "); with scale(", labels[[k]],
      ") they are those at its mean"
    )
  }))
}

#' Terms that a variable is multiplied with
#' @noRd
partners_of <- function(variable, in_term) {
  if (!variable %in% rownames(in_term)) {
    return(character())
  }
  products <- in_term[, in_term[variable, ] > 0 & colSums(in_term > 0) == 2, drop = FALSE]
  intersect(rownames(in_term)[rowSums(products > 0) > 0], colnames(in_term))
}

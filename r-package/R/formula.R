# The engine's formula language is R's but for two things: in Python a.b is
# attribute b of a, and as.factor() is unknown.

dot <- "_dot_"

#' A model formula as text for the engine
#' @noRd
formula_text <- function(formula, call) {
  formula <- as_formula(formula, call)
  dotted <- grep(".", setdiff(all.vars(formula), "."), fixed = TRUE, value = TRUE)
  aliases <- stats::setNames(lapply(hide_dots(dotted), as.name), dotted)
  replaced <- do.call(substitute, list(formula, c(aliases, list(as.factor = quote(factor)))))
  enc2utf8(paste(deparse(replaced, width.cutoff = 500L), collapse = " "))
}

as_formula <- function(formula, call) {
  if (rlang::is_string(formula)) {
    formula <- tryCatch(stats::as.formula(formula, env = globalenv()), error = function(error) {
      abort_spicestat("formula", c(
        "cannot read the formula.",
        x = conditionMessage(error),
        i = if (!grepl("~", formula, fixed = TRUE)) paste0("Write ~ ", formula, ".")
      ), call = call)
    })
  }
  if (!inherits(formula, "formula")) {
    abort_spicestat(
      "formula", "`formula` must be a formula such as ~ diagnosis + age.",
      call = call
    )
  }
  formula
}

hide_dots <- function(names) {
  ifelse(names == ".", names, gsub(".", dot, names, fixed = TRUE))
}

show_dots <- function(names) {
  gsub(dot, ".", names, fixed = TRUE)
}

#' Participants' equations as text or LaTeX
#'
#' @param fit A [spice_fit()].
#' @param participant Ids of participants; `NULL` for all.
#' @param format `"text"` or `"latex"`.
#' @param digits Decimal places of the coefficients.
#' @return A tibble of class `spice_equations` with one row per participant and
#'   equation: `participant`, `component` (the module), `equation`. Printing it
#'   shows the equations as they are, and below them what the symbols mean; those
#'   in LaTeX as one `align*` environment per participant. States have the index `k` of the trial, and
#'   coefficients without a standard error that are 1 are left out.
#' @export
#' @examples
#' equations(example_fit, "p01")
#' equations(example_fit, c("p01", "p02"), format = "latex")
equations <- function(fit, participant = NULL, format = c("text", "latex"), digits = 3) {
  check_fit(fit, rlang::current_env())
  format <- rlang::arg_match(format)
  table <- fit$coefficients
  if (!is.null(participant)) {
    check_participants(participant, table$participant, rlang::current_env())
    table <- table[label_text(table$participant) %in% label_text(participant), ]
  }
  words <- if (format == "latex") latex_words(digits) else text_words(digits)
  side <- ifelse(table$module == "beta", paste0("beta(", table$term, ")"), table$module)
  key <- paste(table$participant, side, sep = "\r")
  parts <- split_in_order(table, key)
  lines <- vapply(parts, one_line, "", words = words, USE.NAMES = FALSE)
  first <- !duplicated(key)
  tibble::new_tibble(
    list(participant = table$participant[first], component = side[first], equation = lines),
    nrow = length(lines), class = "spice_equations", format = format,
    legend = equation_legend(fit$glance$model, unique(table$module))
  )
}

# what the modules of the engine's own models do
module_meanings <- c(
  x_learning_rate_reward = "moves the chosen action's value by this share of (reward - value)",
  x_learning_rate_positive = "moves the chosen action's value by this share of (reward - value), if positive",
  x_learning_rate_negative = "moves the chosen action's value by this share of (reward - value), if negative",
  x_learning_rate_counterfactual = "moves the other actions' values by this share of (their reward - value)",
  x_value_reward_chosen = "value of the chosen action",
  x_value_reward_not_chosen = "value of the actions that were not chosen",
  x_value_choice = "trace of earlier choices of an action",
  x_value_memory = "what an action owes to the last choices and rewards"
)
logit_models <- c(
  "choice", "learning_rate", "participant_embedding", "asymmetric", "counterfactual", "working_memory",
  "forgetting", "rescorla_wagner"
)

#' Lines that say what the symbols of the equations mean
#'
#' Modules of other models may have the same names and do something else.
#' @noRd
equation_legend <- function(model, modules) {
  beta <- "beta" %in% modules
  if (!isTRUE(model %in% logit_models)) {
    return(c(
      "[k], [k+1]: before and after trial k",
      if (beta) "beta(x): weight of x in the choice between actions"
    ))
  }
  known <- intersect(modules, names(module_meanings))
  parts <- c(
    if (beta) "beta(x_value_reward) * value" else "value", intersect(c("x_value_choice", "x_value_memory"), modules)
  )
  c(
    "[k], [k+1]: before and after trial k",
    paste0(known, ": ", module_meanings[known]),
    paste("Log odds of an action:", paste(parts, collapse = " + "))
  )
}

check_participants <- function(given, known, call) {
  unknown <- setdiff(label_text(given), label_text(known))
  if (length(unknown) > 0) {
    abort_spicestat("config", c(
      paste0("there is no participant ", name_some(unknown), "."),
      i = paste0("There are: ", some(unique(known)), ".")
    ), call = call)
  }
}

#' One equation: the module's next state, or an inverse temperature
#' @noRd
one_line <- function(rows, words) {
  module <- rows$module[[1]]
  if (module == "beta") {
    return(paste(words$beta(rows$term[[1]]), words$equals, words$number(rows$estimate[[1]])))
  }
  rows <- rows[rows$selected, ]
  paste(words$state(module, next_trial = TRUE), words$equals, words$sum(rows))
}

#' Signs, coefficients and terms, one after the other
#' @noRd
sum_of_terms <- function(rows, word, number) {
  if (nrow(rows) == 0) {
    return("0")
  }
  size <- number(abs(rows$estimate))
  name <- vapply(rows$term, word, "", USE.NAMES = FALSE)
  # a coefficient that the structure fixes at 1 is none
  bare <- abs(rows$estimate) == 1 & is.na(rows$std_error) & name != ""
  products <- trimws(paste(ifelse(bare, "", size), name))
  minus <- rows$estimate < 0
  signs <- c(if (minus[1]) "-" else "", ifelse(minus[-1], " - ", " + "))
  paste0(signs, products, collapse = "")
}

fixed_digits <- function(digits) {
  function(x) formatC(x, digits = digits, format = "f")
}

text_words <- function(digits) {
  number <- fixed_digits(digits)
  state <- function(name, next_trial = FALSE, power = NULL) {
    paste0(name, if (next_trial) "[k+1]" else "[k]", if (!is.null(power)) paste0("^", power))
  }
  list(
    equals = "=", number = number, state = state, beta = function(name) paste0("beta(", name, ")"),
    sum = function(rows) sum_of_terms(rows, function(term) term_words(term, state), number)
  )
}

latex_words <- function(digits) {
  number <- fixed_digits(digits)
  list(
    equals = "&=", number = number, state = latex_state,
    beta = function(name) paste0("\\beta_{\\text{", latex_name(name), "}}"),
    sum = function(rows) sum_of_terms(rows, function(term) term_words(term, latex_state), number)
  )
}

#' A library term such as "x c_reward" or "x^2", with each variable written by `state`
#' @noRd
term_words <- function(term, state) {
  if (term == "1") {
    return("")
  }
  factors <- strsplit(term, "[ *]+")[[1]]
  parts <- strsplit(factors, "^", fixed = TRUE)
  written <- vapply(parts, function(part) {
    if (length(part) > 1) state(part[1], power = part[2]) else state(part[1])
  }, "")
  paste(written, collapse = " ")
}

#' x_value_reward is the state "value reward", c_reward the control "reward"
#' @noRd
latex_state <- function(name, next_trial = FALSE, power = NULL) {
  symbol <- if (startsWith(name, "c_")) "c" else "x"
  written <- paste0(symbol, "^{\\text{", latex_name(name), "}}_{", if (next_trial) "k+1" else "k", "}")
  # LaTeX allows one superscript
  if (is.null(power)) written else paste0("\\left(", written, "\\right)^{", power, "}")
}

latex_name <- function(name) {
  latex_text(gsub("_", " ", sub("^[xc]_", "", name), fixed = TRUE))
}

#' Text from the data as LaTeX shows it: no character of it is a command, and none ends a line
#' @noRd
latex_text <- function(text) {
  special <- c(
    "\\" = "\\textbackslash{}", "{" = "\\{", "}" = "\\}", "$" = "\\$", "&" = "\\&", "#" = "\\#",
    "%" = "\\%", "_" = "\\_", "~" = "\\textasciitilde{}", "^" = "\\textasciicircum{}"
  )
  letters <- strsplit(one_line_text(text), "")
  vapply(letters, function(own) paste0(ifelse(own %in% names(special), special[own], own), collapse = ""), "")
}

one_line_text <- function(text) {
  gsub("[[:cntrl:]\u0085\u2028\u2029]+", " ", as.character(text))
}

#' @rdname equations
#' @param x What `equations()` returned.
#' @param ... Not used; anything here is an error.
#' @export
print.spice_equations <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname equations
#' @export
format.spice_equations <- function(x, ...) {
  check_dots(...)
  people <- unique(x$participant)
  shown <- utils::head(people, 10)
  latex <- identical(attr(x, "format"), "latex")
  blocks <- lapply(shown, function(one) {
    own <- x$equation[x$participant == one]
    if (latex) {
      # a line break would end the comment, and LaTeX would run the rest
      ends <- c(rep(" \\\\", length(own) - 1), "")
      c(paste0("% ", one_line_text(one)), "\\begin{align*}", paste0(own, ends), "\\end{align*}")
    } else {
      c(paste0(one_line_text(one), ":"), paste0("  ", own))
    }
  })
  more <- length(people) - length(shown)
  rest <- c(if (more > 0) paste0("... and ", count(more, "more participant")), attr(x, "legend"))
  c(unlist(blocks), if (!latex) "", if (length(rest) > 0) paste0(if (latex) "% ", rest))
}

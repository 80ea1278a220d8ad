#' The columns of what is on the screen, by their roles
#'
#' @param quos Quosures, named by roles.
#' @return A named list of text: a column, several, or, where they are named,
#'   a list by name; without the roles that were not given.
#' @noRd
screen_roles <- function(quos, available, call) {
  read <- list(
    options = option_columns(quos$options, available, call),
    attributes = attribute_columns(quos$attributes, available, call)
  )
  several <- c("stimulus", "context")
  for (role in setdiff(names(quos), c("options", "attributes"))) {
    one <- if (role %in% several) column_names else column_name
    found <- one(quos[[role]], available, role, call)
    read[[role]] <- if (role %in% several && !is.null(found)) as.list(found) else found
  }
  Filter(Negate(is.null), read)
}

#' `c(card_left, card_right)`, or `c(left = stim_left, right = stim_right)`
#' @noRd
option_columns <- function(quo, available, call) {
  found <- column_names(quo, available, "options", call)
  if (!is.null(found)) as.list(found)
}

#' `list(amount = c(amount_sooner, amount_later))`, each as options are
#' @noRd
attribute_columns <- function(quo, available, call) {
  expr <- rlang::quo_get_expr(quo)
  env <- rlang::quo_get_env(quo)
  if (is.null(expr)) {
    return(NULL)
  }
  parts <- if (rlang::is_call(expr, c("list", "c"))) as.list(expr)[-1] else eval(expr, env)
  if (!is.list(parts) || is.null(names(parts)) || any(names(parts) == "")) {
    abort_spicestat("config", c(
      "`attributes` says for each attribute which columns hold it.",
      i = "Pass list(amount = c(amount_sooner, amount_later)), columns in the order of the actions."
    ), call = call)
  }
  lapply(parts, function(part) {
    as.list(column_names(rlang::new_quosure(part, env), available, "attributes", call))
  })
}

#' Column names that the user gave as bare names, strings, or c() of either
#'
#' @param quo A quosure.
#' @param available Names of the data's columns; NULL if they are in a file.
#' @return Character vector, or NULL for NULL.
#' @noRd
column_names <- function(quo, available, arg, call) {
  if (rlang::quo_is_missing(quo)) {
    abort_spicestat("column", paste0("`", arg, "` must name a column."), call = call)
  }
  if (rlang::quo_is_null(quo)) {
    return(NULL)
  }
  names <- read_names(rlang::quo_get_expr(quo), rlang::quo_get_env(quo), available)
  if (!is.character(names) || anyNA(names) || length(names) == 0) {
    abort_spicestat(
      "column",
      c(
        paste0("`", arg, "` must name columns, as a bare name or as text."),
        i = "To compute a column, add it to the data first."
      ),
      call = call
    )
  }
  require_names(names, available, arg, call)
  names
}

column_name <- function(quo, available, arg, call) {
  name <- column_names(quo, available, arg, call)
  if (length(name) > 1) {
    abort_spicestat("column", paste0("`", arg, "` must be one column, not ", length(name), "."),
      call = call
    )
  }
  name
}

read_names <- function(expr, env, available) {
  if (is.character(expr)) {
    return(expr)
  }
  if (rlang::is_symbol(expr)) {
    return(read_symbol(rlang::as_string(expr), env, available))
  }
  if (rlang::is_call(expr, c("c", "list"))) {
    return(unlist(lapply(as.list(expr)[-1], read_names, env, available)))
  }
  if (rlang::is_call(expr, c("$", "[["), n = 2) && identical(expr[[2]], quote(.data))) {
    return(if (is.symbol(expr[[3]])) as.character(expr[[3]]) else eval(expr[[3]], env))
  }
  # paste0("x", 1), variable$name and the like
  tryCatch(eval(expr, env), error = function(error) NULL)
}

# a column comes first; then a variable that holds names, as in all_of()
read_symbol <- function(name, env, available) {
  if (is.null(available) || name %in% available) {
    return(name)
  }
  value <- get0(name, envir = env, mode = "character")
  if (is.null(value)) name else value
}

require_names <- function(names, available, arg, call) {
  unknown <- setdiff(names, available)
  if (is.null(available) || length(unknown) == 0) {
    return(invisible())
  }
  abort_spicestat(
    "column",
    c(
      paste0("`", arg, "`: there is no column '", paste(unknown, collapse = "', '"), "'."),
      i = paste0("The data has: ", paste(available, collapse = ", "), ".")
    ),
    call = call
  )
}

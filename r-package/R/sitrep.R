#' What does spicestat find on this computer?
#'
#' Prints which versions of R, reticulate, Python and the Python packages are
#' found, what is missing or of the wrong version, and the command that mends
#' it. Works without Python, and downloads nothing: where no Python has been
#' chosen, none is looked for.
#'
#' @return A list with `r`, `reticulate`, `engine` (`"embedded"` or
#'   `"subprocess"`), `python` (path, or `NA`), `versions` (of the Python
#'   packages, or `NULL`) and `problem` (text, or `NA`), invisibly.
#' @export
#' @examples
#' if (spicestat_available()) spicestat_sitrep()
spicestat_sitrep <- function() {
  state <- list(
    r = as.character(getRversion()),
    reticulate = as.character(utils::packageVersion("reticulate")),
    engine = NA_character_, python = NA_character_, versions = NULL, problem = NA_character_
  )
  if (!python_chosen() && !reticulate::py_available()) {
    state$problem <- "No Python has been chosen."
    print_sitrep(state)
    return(invisible(state))
  }
  state$versions <- tryCatch(
    {
      state$engine <- engine_place()
      call_bridge("version")
    },
    error = function(error) {
      state$problem <<- conditionMessage(error)
      NULL
    }
  )
  state$python <- python_path()
  print_sitrep(state)
  invisible(state)
}

print_sitrep <- function(state) {
  cli::cli_h1("spicestat")
  cli::cli_bullets(c(
    v = "R {state$r}, reticulate {state$reticulate}",
    if (!is.na(state$engine)) c(v = "engine: {.val {state$engine}}"),
    if (is.na(state$python)) {
      c(x = "no Python: run install_spicestat()")
    } else {
      c(v = "Python: {.path {state$python}}")
    },
    " " = paste0(
      "SPICESTAT_PYTHON: ", or_unset("SPICESTAT_PYTHON"),
      ", RETICULATE_PYTHON: ", or_unset("RETICULATE_PYTHON")
    )
  ))
  versions <- unlist(state$versions[setdiff(names(state$versions), "protocol")])
  if (length(versions) > 0) {
    print_versions(versions)
  } else {
    cli::cli_verbatim(state$problem)
  }
}

print_versions <- function(versions) {
  listed <- paste(names(versions), versions)
  missing <- versions == "missing"
  cli::cli_bullets(c(
    v = paste(listed[!missing], collapse = ", "),
    if (any(missing)) c(x = paste0(paste(listed[missing], collapse = ", "), ": run install_spicestat()"))
  ))
}

or_unset <- function(variable) {
  value <- Sys.getenv(variable)
  if (nzchar(value)) value else "not set"
}

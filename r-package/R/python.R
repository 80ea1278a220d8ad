# The only file that calls reticulate.

the <- new.env(parent = emptyenv())

environment_name <- "r-spicestat"
protocol <- 1

#' A function of reticulate, or NULL if the installed version lacks it
#' @noRd
newer_reticulate <- function(name) {
  get0(name, envir = asNamespace("reticulate"), inherits = FALSE)
}

#' Tell versions of reticulate that have `py_require()` what we need, without
#' starting Python
#' @noRd
declare_python <- function(declare = newer_reticulate("py_require")) {
  if (is.null(declare) || python_chosen() || reticulate::py_available()) {
    return(invisible())
  }
  requirement <- Sys.getenv("SPICESTAT_REQUIREMENT", "spicestat")
  tryCatch(
    suppressWarnings(declare(requirement, python_version = ">=3.11")),
    error = function(error) NULL
  )
  invisible()
}

python_chosen <- function() {
  nzchar(Sys.getenv("RETICULATE_PYTHON")) || environment_exists()
}

environment_exists <- function() {
  tryCatch(
    environment_name %in% reticulate::virtualenv_list(),
    error = function(error) FALSE
  )
}

#' The Python module `spicestat.r.bridge`, imported on first use
#' @noRd
bridge <- function(call = rlang::caller_env()) {
  if (is.null(the$bridge) || reticulate::py_is_null_xptr(the$bridge)) {
    choose_environment()
    the$bridge <- tryCatch(
      reticulate::import("spicestat.r.bridge", convert = FALSE),
      error = function(error) abort_no_engine(conditionMessage(error), call)
    )
    check_protocol(call)
  }
  the$bridge
}

choose_environment <- function() {
  chosen <- nzchar(Sys.getenv("RETICULATE_PYTHON")) || reticulate::py_available()
  if (!chosen && environment_exists()) {
    reticulate::use_virtualenv(environment_name, required = TRUE)
  }
}

abort_no_engine <- function(reason, call) {
  abort_spicestat(
    "install",
    c(
      "the Python package 'spicestat' cannot be loaded.",
      x = sub("\\s+$", "", reason),
      i = "Run install_spicestat(), then restart R. spicestat_sitrep() shows what is there."
    ),
    call = call
  )
}

check_protocol <- function(call) {
  found <- convert(the$bridge$PROTOCOL)
  if (!identical(as.double(found), protocol)) {
    the$bridge <- NULL
    abort_no_engine(
      paste0("Its protocol is version ", found, ", and this R package needs ", protocol, "."), call
    )
  }
}

# the one converter: everything that it meets is a plain dict, list, text or number
convert <- function(object) {
  reticulate::py_to_r(object)
}

#' Call a function of the bridge and return its value
#' @noRd
call_bridge <- function(name, ..., call = rlang::caller_env()) {
  engine <- bridge(call)
  open_envelope(convert(engine[[name]](...)), call)
}

#' An R function that Python can call with plain values
#'
#' An interrupt must not jump over Python's frames, so that it is returned.
#' @noRd
as_callback <- function(f) {
  function(...) {
    tryCatch(
      {
        do.call(f, lapply(list(...), plain_value))
        "done"
      },
      interrupt = function(condition) "interrupt"
    )
  }
}

plain_value <- function(x) {
  if (inherits(x, "python.builtin.object")) convert(x) else x
}

#' Can spicestat's Python engine be used?
#'
#' Starts Python only where one has been chosen: through the environment
#' variable `SPICESTAT_PYTHON` or `RETICULATE_PYTHON`, by
#' [install_spicestat()], or because it is running already.
#'
#' @return `TRUE` or `FALSE`.
#' @export
#' @examples
#' spicestat_available()
spicestat_available <- function() {
  if (!python_chosen() && !reticulate::py_available()) {
    return(FALSE)
  }
  tryCatch(
    {
      bridge()
      TRUE
    },
    error = function(error) FALSE
  )
}

#' Install spicestat's Python engine
#'
#' Makes a virtual environment called `r-spicestat` and installs the Python
#' package into it. Later sessions use it without being told, unless
#' `SPICESTAT_PYTHON` or `RETICULATE_PYTHON` names another Python. It is never
#' called automatically.
#'
#' @param source What pip should install: `"spicestat"`, the path of a copy of
#'   the source code, or the address of a repository such as
#'   `"git+https://..."`.
#' @param envname Name of the virtual environment.
#' @param python Path of the Python (3.11 or newer) to base it on; `NULL`
#'   lets reticulate choose.
#' @param recreate Delete the environment first if there is one?
#' @return The name of the environment, invisibly.
#' @export
#' @examples
#' \dontrun{
#' install_spicestat()
#' install_spicestat("~/src/spicestat", python = "/usr/bin/python3.12")
#' }
install_spicestat <- function(source = "spicestat", envname = "r-spicestat", python = NULL,
                              recreate = FALSE) {
  if (recreate && envname %in% reticulate::virtualenv_list()) {
    reticulate::virtualenv_remove(envname, confirm = FALSE)
  }
  if (!envname %in% reticulate::virtualenv_list()) {
    reticulate::virtualenv_create(envname, python = python, packages = NULL)
  }
  if (file.exists(source)) source <- normalizePath(source)
  reticulate::virtualenv_install(envname, packages = source, ignore_installed = FALSE)
  cli::cli_alert_success("Installed in the virtual environment {.val {envname}}. Restart R to use it.")
  invisible(envname)
}

#' What does spicestat find on this computer?
#'
#' Prints which versions of R, reticulate, Python and the Python packages are
#' found, what is missing, and what to do about it. Works without Python.
#'
#' @return A list with `r`, `reticulate`, `python` (path, or `NA`), `versions`
#'   (of the Python packages, or `NULL`) and `problem` (text, or `NA`),
#'   invisibly.
#' @export
#' @examples
#' if (spicestat_available()) spicestat_sitrep()
spicestat_sitrep <- function() {
  state <- list(
    r = as.character(getRversion()),
    reticulate = as.character(utils::packageVersion("reticulate")),
    python = NA_character_, versions = NULL, problem = NA_character_
  )
  state$versions <- tryCatch(call_bridge("version"), error = function(error) {
    state$problem <<- conditionMessage(error)
    NULL
  })
  state$python <- python_path()
  print_sitrep(state)
  invisible(state)
}

python_path <- function() {
  path <- tryCatch(reticulate::py_discover_config()$python, error = function(error) NULL)
  if (is.null(path)) NA_character_ else path
}

print_sitrep <- function(state) {
  cli::cli_h1("spicestat")
  cli::cli_bullets(c(
    v = "R {state$r}, reticulate {state$reticulate}",
    if (is.na(state$python)) c(x = "no Python") else c(v = "Python: {.path {state$python}}"),
    " " = paste0(
      "SPICESTAT_PYTHON: ", or_unset("SPICESTAT_PYTHON"),
      ", RETICULATE_PYTHON: ", or_unset("RETICULATE_PYTHON")
    )
  ))
  versions <- unlist(state$versions[setdiff(names(state$versions), "protocol")])
  if (length(versions) > 0) {
    listed <- paste(names(versions), versions)
    missing <- versions == "missing"
    cli::cli_bullets(c(
      v = paste(listed[!missing], collapse = ", "),
      if (any(missing)) c(x = paste0(paste(listed[missing], collapse = ", "), ": run install_spicestat()"))
    ))
  } else {
    cli::cli_verbatim(state$problem)
  }
}

or_unset <- function(variable) {
  value <- Sys.getenv(variable)
  if (nzchar(value)) value else "not set"
}

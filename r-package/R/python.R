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
  requirement <- Sys.getenv("SPICESTAT_REQUIREMENT", engine_requirement())
  if (!nzchar(requirement)) {
    return(invisible())
  }
  tryCatch(
    suppressWarnings(declare(requirement, python_version = ">=3.11")),
    error = function(error) NULL
  )
  invisible()
}

#' The engine that the R package brings, a wheel; NULL in a copy that was installed from its sources
#' @noRd
engine_wheel <- function(folder = system.file("python", package = "spicestat")) {
  wheels <- sort(list.files(folder, pattern = "^spicestat-.*[.]whl$", full.names = TRUE))
  if (nzchar(folder) && length(wheels) > 0) normalizePath(wheels[[length(wheels)]], "/")
}

#' The engine's wheel as pip and uv take it; "" where there is none, as no index is asked for the engine
#' @noRd
engine_requirement <- function(wheel = engine_wheel()) {
  if (is.null(wheel)) {
    return("")
  }
  # a drive letter has no slash before it
  paste0("spicestat @ file://", if (!startsWith(wheel, "/")) "/", utils::URLencode(wheel))
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
    choose_environment(call)
    check_requirements(convert(engine_module("spicestat.r.requirements", call)$problems()), call)
    the$bridge <- engine_module("spicestat.r.bridge", call)
    found <- convert(the$bridge$PROTOCOL)
    tryCatch(check_protocol(found, call), error = function(error) {
      the$bridge <- NULL
      rlang::cnd_signal(error)
    })
  }
  the$bridge
}

engine_module <- function(name, call) {
  tryCatch(
    {
      leave_out_working_folder()
      reticulate::import(name, convert = FALSE)
    },
    error = function(error) abort_no_engine(conditionMessage(error), call)
  )
}

#' Python looks for modules in the working folder first, as reticulate starts it
#'
#' A file there that is called like any module, such as `html.py` in a folder of
#' data, would be run.
#' @noRd
leave_out_working_folder <- function() {
  code <- "import sys\nsys.path[:] = [place for place in sys.path if place not in ('', '.')]"
  reticulate::py_run_string(code, local = TRUE, convert = FALSE)
}

choose_environment <- function(call) {
  if (reticulate::py_available()) {
    return(invisible())
  }
  if (nzchar(Sys.getenv("RETICULATE_PYTHON"))) {
    check_python_exists(Sys.getenv("RETICULATE_PYTHON"), call)
  } else if (environment_exists()) {
    tryCatch(
      reticulate::use_virtualenv(environment_name, required = TRUE),
      error = function(error) abort_no_engine(conditionMessage(error), call)
    )
  }
}

#' Path of the Python that a process of its own should run; nothing is started
#' @noRd
chosen_python <- function(call) {
  named <- Sys.getenv("RETICULATE_PYTHON")
  path <- if (nzchar(named)) {
    named
  } else if (environment_exists()) {
    reticulate::virtualenv_python(environment_name)
  } else {
    python_path()
  }
  if (is.na(path)) abort_no_engine("There is no Python.", call)
  check_python_exists(path, call)
  path
}

# "managed" is how newer versions of reticulate are asked for a Python of their own
check_python_exists <- function(path, call) {
  if (path == "managed" || file.exists(path)) {
    return(invisible())
  }
  abort_spicestat(
    "install",
    c(
      "the Python that was chosen is not there (any more).",
      x = path,
      i = "Run install_spicestat() to make a new one, then restart R.",
      i = "If RETICULATE_PYTHON or SPICESTAT_PYTHON names it (in .Renviron?), change or remove that."
    ),
    call = call
  )
}

abort_no_engine <- function(reason, call, python = python_path()) {
  abort_spicestat(
    "install",
    c(
      "the Python package 'spicestat' cannot be loaded.",
      x = first_lines(reason),
      i = if (!is.na(python)) paste0("Python: ", python),
      if (grepl("enable-shared", reason, fixed = TRUE)) {
        shared_library_hints(python)
      } else {
        c(i = "Run install_spicestat(), then restart R. spicestat_sitrep() shows what is there.")
      }
    ),
    call = call
  )
}

#' What to do where Python has no shared library, which R loads to run it in its own process
#' @noRd
shared_library_hints <- function(python) {
  c(
    i = paste0(
      "On Debian and Ubuntu its shared library is a package of its own: apt install ", library_of(python), "."
    ),
    i = "Or run Python in a process of its own, with the package processx: options(spicestat.engine = \"subprocess\")."
  )
}

#' The package of Debian and Ubuntu with a Python's shared library
#' @noRd
library_of <- function(python) {
  code <- "import sys; print('libpython%d.%d' % sys.version_info[:2])"
  tryCatch(
    system2(python, c("-c", shQuote(code)), stdout = TRUE, stderr = FALSE),
    error = function(error) "libpython3", warning = function(warning) "libpython3"
  )
}

#' Say before minutes of downloads what R would say at the first use only: that Python's shared library is not there
#' @noRd
tell_of_missing_library <- function(python, loads = loads_its_library) {
  if (!loads(python)) {
    missing <- c("!" = "R cannot run this Python yet: its shared library is missing.")
    cli::cli_bullets(c(missing, shared_library_hints(python)))
  }
}

#' Elsewhere than on Linux, and where Python names no library, there is nothing to miss
#' @noRd
loads_its_library <- function(python, system = Sys.info()[["sysname"]]) {
  code <- "import ctypes, sysconfig; ctypes.CDLL(sysconfig.get_config_var('INSTSONAME') or None)"
  system != "Linux" || suppressWarnings(system2(python, c("-c", shQuote(code)), stdout = FALSE, stderr = FALSE)) == 0
}

# Python's tracebacks would fill the screen; a line that announces a list is nothing without it
first_lines <- function(text, most = 3) {
  lines <- strsplit(text, "\n", fixed = TRUE)[[1]]
  lines <- utils::head(lines[nzchar(trimws(lines))], most)
  if (length(lines) > 1 && endsWith(lines[[length(lines)]], ":")) lines <- utils::head(lines, -1)
  paste(strtrim(lines, 200), collapse = "\n")
}

check_protocol <- function(found, call) {
  if (!identical(as.double(found), protocol)) {
    abort_no_engine(
      paste0("Its protocol is version ", found, ", and this R package needs ", protocol, "."), call
    )
  }
}

#' Refuse an engine whose packages are missing or of the wrong version
#' @noRd
check_requirements <- function(found, call) {
  if (length(found$unmet) == 0) {
    return(invisible())
  }
  needed <- vapply(found$unmet, requirement_text, "")
  abort_spicestat(
    "install",
    c(
      "Python packages that spicestat needs are missing or of the wrong version.",
      stats::setNames(needed, rep("x", length(needed))),
      i = paste("Run in a terminal:", pip_command(found)),
      i = "Then restart R. install_spicestat(recreate = TRUE) starts from scratch instead."
    ),
    call = call
  )
}

requirement_text <- function(one) {
  paste0(one$package, ": ", one$found, if (nzchar(one$needed)) paste0(", needed: ", one$needed))
}

pip_command <- function(found) {
  specs <- vapply(found$unmet, function(one) paste0('"', one$package, one$needed, '"'), "")
  paste(found$python, "-m pip install", paste(specs, collapse = " "))
}

# the one converter: everything that it meets is a plain dict, list, text or number
convert <- function(object) {
  reticulate::py_to_r(object)
}

#' Call a function of the bridge and return its value
#'
#' @param progress An R function that is called with stage, done, total and
#'   message, or NULL.
#' @noRd
call_bridge <- function(name, ..., progress = NULL, call = rlang::caller_env()) {
  envelope <- if (engine_place(call) == "subprocess") {
    call_worker(name, list(...), progress, call)
  } else {
    engine <- bridge(call)
    callback <- if (!is.null(progress)) list(as_callback(progress))
    convert(do.call(engine[[name]], c(list(...), callback)))
  }
  open_envelope(envelope, call)
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
      call_bridge("version")
      TRUE
    },
    error = function(error) FALSE
  )
}

#' Install spicestat's Python engine
#'
#' Makes a virtual environment called `r-spicestat` and installs the engine into it, which the
#' R package brings; the Python packages that it needs, such as torch, come from PyPI.
#' Later sessions use it without being told, unless
#' `SPICESTAT_PYTHON` or `RETICULATE_PYTHON` names another Python. It is never
#' called automatically. Where installing fails, an environment that was made for it is removed again.
#'
#' On Linux, torch brings 5 GB of libraries for graphics cards. Without these, for the processor alone:
#' `Sys.setenv(PIP_EXTRA_INDEX_URL = "https://download.pytorch.org/whl/cpu")` before `install_spicestat()`.
#' Debian and Ubuntu keep two things in packages of their own that an environment needs: `python3-venv`,
#' and Python's shared library, such as `libpython3.13`, without which `options(spicestat.engine = "subprocess")` works.
#'
#' @param source What pip should install. `NULL` is the engine that the R package
#'   brings; else the path of a copy of the source code, or the address of a repository such as
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
install_spicestat <- function(source = NULL, envname = "r-spicestat", python = NULL, recreate = FALSE) {
  call <- rlang::current_env()
  source <- install_source(source, engine_wheel(), call)
  if (recreate && envname %in% reticulate::virtualenv_list()) {
    reticulate::virtualenv_remove(envname, confirm = FALSE)
  }
  is_new <- !envname %in% reticulate::virtualenv_list()
  done <- FALSE
  on.exit(if (is_new && !done && envname %in% reticulate::virtualenv_list()) {
    reticulate::virtualenv_remove(envname, confirm = FALSE)
  })
  if (is_new) make_environment(envname, python, call)
  tell_of_missing_library(reticulate::virtualenv_python(envname))
  if (is_new) tell_of_size()
  reticulate::virtualenv_install(envname, packages = source, ignore_installed = FALSE)
  done <- TRUE
  cli::cli_alert_success("Installed in the virtual environment {.val {envname}}. Restart R to use it.")
  invisible(envname)
}

#' Say before it is downloaded how large torch is on Linux, and how it gets smaller
#' @noRd
tell_of_size <- function(system = Sys.info()[["sysname"]], index = Sys.getenv("PIP_EXTRA_INDEX_URL")) {
  if (system == "Linux" && !nzchar(index)) {
    cli::cli_bullets(c(i = "torch brings 5 GB for graphics cards: {.help install_spicestat} says how to do without."))
  }
}

#' An empty virtual environment
#'
#' reticulate wants pip beside the Python that it starts from, which Debian and Ubuntu keep in a package of its own;
#' Python's venv brings one along.
#' @noRd
make_environment <- function(envname, python, call, by_reticulate = reticulate::virtualenv_create) {
  tryCatch(by_reticulate(envname, python = python, packages = NULL), error = function(error) {
    if (!made_by_venv(envname, python)) {
      abort_spicestat("install", c(
        "no environment can be made for Python.",
        x = first_lines(conditionMessage(error)),
        i = paste0(
          "It needs Python 3.11 or later with venv and its shared library. On Debian and Ubuntu: apt install ",
          "python3-venv ", library_of(if (is.null(python)) "python3" else python), "."
        ),
        i = "install_spicestat(python = \"path/to/python3\") names another Python."
      ), call = call)
    }
  })
}

made_by_venv <- function(envname, python) {
  if (is.null(python)) python <- Find(nzchar, Sys.which(c("python3", "python")))
  if (is.null(python)) {
    return(FALSE)
  }
  ends_well <- function(...) suppressWarnings(system2(python, c(...), stdout = FALSE, stderr = FALSE)) == 0
  folder <- if (basename(envname) == envname) file.path(reticulate::virtualenv_root(), envname) else envname
  ends_well("-c", shQuote("import sys; sys.exit(sys.version_info < (3, 11))")) &&
    ends_well("-m", "venv", shQuote(path.expand(folder)))
}

#' What pip is to install
#' @noRd
install_source <- function(source, wheel, call) {
  if (is.null(source)) source <- wheel
  if (is.null(source)) {
    abort_spicestat("install", c(
      "this copy of the R package brings no engine, as it was installed from the sources.",
      i = "Name the folder of the project: install_spicestat(\"path/to/spicestat\"), one level above r-package."
    ), call = call)
  }
  if (!rlang::is_string(source)) {
    abort_spicestat("config", "`source` must be one path or address, or NULL.", call = call)
  }
  if (file.exists(source)) normalizePath(source, "/") else source
}

python_path <- function() {
  path <- tryCatch(reticulate::py_discover_config()$python, error = function(error) NULL)
  # reticulate's search ends in an error where it finds a Python that it cannot load
  if (is.null(path) && environment_exists()) path <- reticulate::virtualenv_python(environment_name)
  if (is.null(path)) NA_character_ else path
}

# The engine as a process of its own: options(spicestat.engine = "subprocess").
# torch and R packages such as data.table may bring two copies of OpenMP, which
# then crash a process that has both.

engines <- c("embedded", "subprocess")

#' Where the engine runs: the option, or the environment variable, or in R
#' @noRd
engine_place <- function(call = rlang::caller_env()) {
  place <- getOption("spicestat.engine", Sys.getenv("SPICESTAT_ENGINE", "embedded"))
  if (!rlang::is_string(place) || !place %in% engines) {
    abort_spicestat(
      "config",
      c(
        paste0("unknown engine: ", format(place)[[1]], "."),
        i = "options(spicestat.engine = ) is \"embedded\" (Python within R) or \"subprocess\"."
      ),
      call = call
    )
  }
  place
}

#' Ask the engine's process, which is started if there is none
#'
#' Whatever ends the waiting (Ctrl-C, an error in the callback) ends the process.
#' @noRd
call_worker <- function(name, arguments, progress, call) {
  worker <- the_worker(call)
  folder <- tempfile("spicestat_request_")
  dir.create(folder)
  finished <- FALSE
  on.exit({
    unlink(folder, recursive = TRUE, expand = FALSE)
    if (!finished) stop_worker()
  })
  request <- list(`function` = name, arguments = unname(arguments), progress = !is.null(progress))
  write_tree(request, file.path(folder, "request"))
  # a process that has ended cannot be written to; await_answer() says so
  try(worker$write_input(paste0(normalizePath(folder, winslash = "/"), "\n")), silent = TRUE)
  answer <- await_answer(worker, folder, progress, call)
  finished <- TRUE
  answer
}

await_answer <- function(worker, folder, progress, call) {
  file <- file.path(folder, "answer")
  seen <- 0
  pause <- 0.005
  while (!file.exists(file)) {
    # in this order: an answer may come just before the end
    if (!worker$is_alive() && !file.exists(file)) abort_ended(worker, call)
    seen <- pass_progress(file.path(folder, "progress"), seen, progress)
    Sys.sleep(pause)
    pause <- min(1.5 * pause, 0.1)
  }
  pass_progress(file.path(folder, "progress"), seen, progress)
  read_tree(file)
}

#' Pass lines on that have come since the last time; the last may be half written
#' @noRd
pass_progress <- function(file, seen, progress) {
  if (is.null(progress) || !file.exists(file)) {
    return(seen)
  }
  text <- readChar(file, file.size(file), useBytes = TRUE)
  Encoding(text) <- "UTF-8"
  lines <- strsplit(sub("[^\n]*$", "", text), "\n", fixed = TRUE)[[1]]
  for (line in lines[seq_along(lines) > seen]) {
    fields <- strsplit(paste0(line, "\t"), "\t", fixed = TRUE)[[1]]
    message <- if (length(fields) > 3) fields[[4]] else ""
    progress(fields[[1]], as.integer(fields[[2]]), as.integer(fields[[3]]), message)
  }
  length(lines)
}

the_worker <- function(call) {
  if (is.null(the$worker) || !the$worker$is_alive()) {
    the$worker <- start_worker(call)
    tryCatch(check_worker(call), error = function(error) {
      stop_worker()
      rlang::cnd_signal(error)
    })
  }
  the$worker
}

start_worker <- function(call) {
  need_package("processx", "the engine \"subprocess\"", call, "or options(spicestat.engine = \"embedded\")")
  python <- chosen_python(call)
  the$log <- tempfile("spicestat_engine_", fileext = ".log")
  tryCatch(
    processx::process$new(
      # -P: a file in the working folder is no module
      python, c("-P", "-m", "spicestat.r.worker"),
      stdin = "|", stdout = the$log, stderr = "2>&1", env = worker_environment(), cleanup = TRUE
    ),
    error = function(error) abort_no_engine(conditionMessage(error), call, python)
  )
}

#' The environment variables without what R has put before the library path
#'
#' Python would load the system's libpython, OpenSSL and BLAS for its own.
#' @noRd
worker_environment <- function(variables = Sys.getenv()) {
  for (name in intersect(c("LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"), names(variables))) {
    users <- setdiff(path_entries(variables[[name]]), path_entries(r_library_path()))
    variables[[name]] <- paste(users, collapse = ":")
  }
  stats::setNames(as.character(variables), names(variables))
}

path_entries <- function(path) strsplit(path, ":", fixed = TRUE)[[1]]

# as the script that starts R on Unix sets it
r_library_path <- function() {
  script <- file.path(R.home("etc"), "ldpaths")
  if (!file.exists(script)) {
    return("")
  }
  code <- paste0("unset R_LD_LIBRARY_PATH LD_LIBRARY_PATH; . '", script, "'; echo \"$R_LD_LIBRARY_PATH\"")
  tryCatch(
    suppressWarnings(system2("sh", c("-c", shQuote(code)), stdout = TRUE, stderr = FALSE))[1],
    error = function(error) ""
  )
}

# the protocol and the packages, before anything that depends on them
check_worker <- function(call) {
  check_requirements(ask_started("requirements", call), call)
  check_protocol(ask_started("version", call)$protocol, call)
}

ask_started <- function(name, call) {
  open_envelope(call_worker(name, list(), NULL, call), call)
}

stop_worker <- function() {
  if (!is.null(the$worker)) {
    try(the$worker$kill_tree(), silent = TRUE)
    the$worker <- NULL
  }
}

abort_ended <- function(worker, call) {
  status <- worker$get_exit_status()
  last <- last_lines(the$log)
  the$worker <- NULL
  missing <- grep("No module named|ImportError", last, value = TRUE)
  if (length(missing) > 0) {
    abort_no_engine(utils::tail(missing, 1), call, chosen_python(call))
  }
  abort_spicestat(
    "process",
    c(
      paste0("the engine's Python process ended before it had an answer (status ", status, ")."),
      stats::setNames(last, rep("x", length(last))),
      i = "Run the command again: a new process is started by itself.",
      i = if (isTRUE(abs(status) == 9)) {
        "Status 9: it was killed, by somebody or for lack of memory. Fewer participants at once need less."
      },
      i = "If it ends again, spicestat_sitrep() shows what is there."
    ),
    call = call
  )
}

last_lines <- function(file, most = 3) {
  lines <- tryCatch(readLines(file, warn = FALSE), error = function(error) character())
  lines <- strtrim(lines[nzchar(lines)], 300)
  utils::tail(lines, most)
}

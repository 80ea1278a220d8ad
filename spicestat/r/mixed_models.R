# Fits a mixed model with lme4, lmerTest or glmmTMB; run by spicestat/r/run_r.py, which sets `folder`.
#
# In: data.csv (text, \N where missing), columns.csv (name, kind), levels.csv (name, level), formula.txt, engine.txt,
# reml.txt, weights.txt. Out: fixed.csv, vcov.csv, ran_pars.csv, ran_vals.csv, glance.csv, messages.txt; or error.txt.
# Base R alone reads and writes, so that nothing but the modelling package must be installed.

line <- function(name) readLines(file.path(folder, name), encoding = "UTF-8", warn = FALSE)[1]
text <- function(name) read.csv(file.path(folder, name), colClasses = "character", na.strings = "\\N", check.names = FALSE,
                                encoding = "UTF-8", quote = "\"", strip.white = FALSE)
put <- function(frame, name) {
  for (k in which(vapply(frame, is.double, TRUE))) frame[[k]] <- ifelse(is.na(frame[[k]]), "", sprintf("%.17g", frame[[k]]))
  write.csv(frame, file.path(folder, name), row.names = FALSE, na = "", fileEncoding = "UTF-8")
}
read_data <- function() {
  data <- text("data.csv"); kinds <- text("columns.csv"); levels <- text("levels.csv")
  for (k in seq_len(nrow(kinds))) {
    name <- kinds$name[k]
    data[[name]] <- switch(kinds$kind[k], number = as.numeric(data[[name]]), logical = as.logical(data[[name]]),
                           factor(data[[name]], levels$level[levels$name == name]))
  }
  data
}
spread <- function(covariances, residual) {
  rows <- list()
  add <- function(group, term, estimate) rows[[length(rows) + 1]] <<- data.frame(group = group, term = term, estimate = estimate)
  for (group in names(covariances)) {
    sd <- attr(covariances[[group]], "stddev"); cor <- attr(covariances[[group]], "correlation")
    names <- rownames(as.matrix(covariances[[group]]))
    for (i in seq_along(sd)) add(group, paste0("sd__", names[i]), unname(sd[i]))
    for (i in seq_along(sd)) for (j in seq_along(sd)) if (i < j) add(group, paste0("cor__", names[i], ".", names[j]), cor[i, j])
  }
  add("Residual", "sd__Observation", residual)
  do.call(rbind, rows)
}
deviations <- function(all) do.call(rbind, lapply(names(all), function(group) {
  frame <- all[[group]]; variance <- attr(frame, "postVar"); if (is.null(variance)) variance <- attr(frame, "condVar")
  do.call(rbind, lapply(seq_along(frame), function(k) data.frame(group = group, level = rownames(frame), term = names(frame)[k],
    estimate = frame[[k]], std_error = if (is.array(variance)) sqrt(pmax(variance[k, k, ], 0)) else NA_real_)))
}))
describe_lmer <- function(fit, tested) {
  table <- if (tested) coef(summary(fit, ddf = "Satterthwaite")) else coef(summary(fit))
  complaints <- c(unlist(fit@optinfo$conv$lme4$messages), unlist(fit@optinfo$message[fit@optinfo$conv$opt != 0]))
  list(fixed = data.frame(term = rownames(table), estimate = table[, "Estimate"], std_error = table[, "Std. Error"],
                          df = if (tested) table[, "df"] else NA_real_, p_value = if (tested) table[, "Pr(>|t|)"] else NA_real_),
       vcov = as.matrix(vcov(fit)), spread = spread(lme4::VarCorr(fit), sigma(fit)),
       values = deviations(lme4::ranef(fit, condVar = TRUE)), singular = lme4::isSingular(fit),
       converged = fit@optinfo$conv$opt == 0 && !any(grepl("failed to converge", complaints)))
}
describe_glmmtmb <- function(fit) {
  table <- coef(summary(fit))$cond
  covariances <- glmmTMB::VarCorr(fit)$cond
  parts <- spread(covariances, sigma(fit))
  small <- any(parts$estimate[grepl("^sd__", parts$term) & parts$group != "Residual"] < 1e-4 * sigma(fit)) ||
    any(abs(parts$estimate[grepl("^cor__", parts$term)]) > 1 - 1e-4)
  values <- glmmTMB::ranef(fit, condVar = TRUE)$cond
  list(fixed = data.frame(term = rownames(table), estimate = table[, 1], std_error = table[, 2], df = Inf, p_value = table[, 4]),
       vcov = as.matrix(vcov(fit)$cond), spread = parts, values = deviations(values), singular = small,
       converged = fit$fit$convergence == 0 && isTRUE(fit$sdr$pdHess))
}
# a formula may come from a file or a web page: nothing in it runs but these
allowed <- c("~", "+", "-", "*", "/", ":", "^", "|", "||", "(", "%in%", "<", "<=", ">", ">=", "==", "!=", "abs", "c", "C", "exp",
             "expm1", "factor", "I", "log", "log10", "log1p", "log2", "poly", "scale", "sqrt")
refuse <- function(message) stop(structure(class = c("spicestat_formula", "error", "condition"),
                                           list(message = message, call = NULL)))
check_formula <- function(part) {
  if (!is.call(part)) return(invisible())
  name <- if (is.name(part[[1]])) as.character(part[[1]]) else paste(deparse(part[[1]]), collapse = " ")
  if (!is.name(part[[1]]) || !name %in% allowed) refuse(paste0("the formula names '", name, "', which it may not"))
  for (own in as.list(part)[-1]) check_formula(own)
}
read_formula <- function(environment) {
  written <- tryCatch(str2lang(line("formula.txt")), error = function(e) refuse(paste("the formula cannot be read:",
                                                                                      conditionMessage(e))))
  check_formula(written)
  if (!is.call(written) || written[[1]] != "~") refuse("the formula has no '~' at its head")
  as.formula(written, env = environment)
}
fit_model <- function(engine, formula, data, reml, weights) {
  if (engine == "glmmTMB")
    return(glmmTMB::glmmTMB(formula, data, REML = reml, control = glmmTMB::glmmTMBControl(
      optCtrl = list(iter.max = 10000, eval.max = 20000))))
  control <- lme4::lmerControl(optimizer = "bobyqa", check.conv.singular = "ignore", calc.derivs = TRUE, restart_edge = TRUE,
                               optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
  lmer <- if (engine == "lmerTest") lmerTest::lmer else lme4::lmer
  # lmer looks for weights in the data
  if (weights == "inverse_variance") {
    data$.spicestat_weight <- 1 / data$std_error^2
    return(lmer(formula, data, REML = reml, control = control, weights = .spicestat_weight))
  }
  lmer(formula, data, REML = reml, control = control)
}
work <- function() {
  engine <- line("engine.txt")
  if (!requireNamespace(engine, quietly = TRUE)) stop(structure(class = c("spicestat_missing", "error", "condition"),
    list(message = paste0("the R package '", engine, "' is not installed"), call = NULL)))
  said <- character()
  environment <- new.env(parent = globalenv())
  formula <- read_formula(environment)
  data <- read_data()
  fit <- withCallingHandlers(
    fit_model(engine, formula, data, line("reml.txt") == "TRUE", line("weights.txt")),
    warning = function(w) { said <<- c(said, conditionMessage(w)); invokeRestart("muffleWarning") },
    message = function(m) { said <<- c(said, trimws(conditionMessage(m))); invokeRestart("muffleMessage") })
  found <- withCallingHandlers(
    if (engine == "glmmTMB") describe_glmmtmb(fit) else describe_lmer(fit, engine == "lmerTest"),
    warning = function(w) { said <<- c(said, conditionMessage(w)); invokeRestart("muffleWarning") })
  value <- logLik(fit)
  put(found$fixed, "fixed.csv")
  put(as.data.frame(unname(found$vcov)), "vcov.csv")
  put(found$spread, "ran_pars.csv")
  put(found$values, "ran_vals.csv")
  put(data.frame(nobs = nobs(fit), sigma = sigma(fit), log_lik = as.numeric(value), aic = AIC(fit), bic = BIC(fit),
                 df_residual = df.residual(fit), singular = found$singular, converged = found$converged, engine = engine,
                 version = as.character(packageVersion(engine)), r_version = as.character(getRversion())), "glance.csv")
  writeLines(unique(gsub("[\r\n]+", " ", said)), file.path(folder, "messages.txt"), useBytes = TRUE)
}
tryCatch(suppressPackageStartupMessages(work()), error = function(e) writeLines(
  c(if (inherits(e, "spicestat_missing")) "missing" else if (inherits(e, "spicestat_formula")) "formula" else "failed", gsub("[\r\n]+", " ", conditionMessage(e))),
  file.path(folder, "error.txt"), useBytes = TRUE))

# Reference values for tests/reference/test_emmeans.py.
# Run from this folder: Rscript emmeans.R   (writes emmeans.json and emmeans_versions.json)
#
# Every case has coefficients, covariance and degrees of freedom, from which spicestat makes the same numbers.
# qdrg() gives emmeans a model by these three, so that links can be tried without a fit.
suppressMessages({library(emmeans); library(metafor); library(jsonlite)})
set.seed(20261201)

n <- 48
people <- data.frame(
  age = round(runif(n, 18, 70)),
  diagnosis = sample(c("bipolar", "depression", "healthy"), n, TRUE, c(.2, .3, .5)),
  sex = sample(c("female", "male"), n, TRUE, c(.7, .3)),
  treated = rep_len(c(0, 1, 1), n),
  visit = sample(c(1, 2, 4), n, TRUE),
  stringsAsFactors = FALSE)
people$estimate <- .3 + .01 * people$age + .3 * (people$diagnosis == "healthy") * (people$sex == "male") + rnorm(n, 0, .4)
people$variance <- runif(n, .02, .2)

rows <- function(object, columns) {
  frame <- as.data.frame(object)
  names(frame) <- sub("^(emmean|response|prob|odds.ratio|ratio)$", "estimate", names(frame))
  frame[] <- lapply(frame, function(column) if (is.factor(column)) as.character(column) else column)
  lapply(frame, I)
}

case <- function(name, formula, specs, by = NULL, at = NULL, type = "link", link = NULL, method = "pairwise", by_rma = FALSE,
                 weights = "equal", reference = 1, regrid = FALSE) {
  data <- people
  if (by_rma) {
    data$diagnosis <- factor(data$diagnosis); data$sex <- factor(data$sex)
    fit <- rma(estimate, variance, mods = formula, data = data, test = "knha", control = list(threshold = 1e-13, maxiter = 10000))
    beta <- as.vector(fit$beta); V <- vcov(fit); df <- n - length(beta)
  } else {
    fit <- lm(update(formula, estimate ~ .), data = data)
    beta <- unname(coef(fit)); V <- vcov(fit); df <- df.residual(fit)
  }
  # lm() finds out that factor(visit) makes a factor of visit; so that all cases go the same way, qdrg is for the others
  grid_arguments <- if (is.null(at)) list() else list(at = at)
  object <- if (by_rma || !is.null(link))
    do.call(qdrg, c(list(formula = formula, data = data, coef = beta, vcov = unname(V), df = df), if (!is.null(link)) list(link = link), grid_arguments))
  else do.call(ref_grid, c(list(fit, data = data), grid_arguments))
  means <- emmeans(object, specs, by = by, weights = weights)
  compared <- if (regrid) regrid(means) else means
  contrast_arguments <- if (method == "trt.vs.ctrl") list(ref = reference) else list()
  differences <- do.call(contrast, c(list(compared, method = method, adjust = "none"), contrast_arguments))
  tukey <- if (method == "pairwise") as.data.frame(summary(contrast(compared, method = "pairwise"), adjust = "tukey"))$p.value
  joint <- as.data.frame(test(contrast(means, method = method), joint = TRUE))
  list(name = name, formula = paste(deparse(formula), collapse = ""), terms = I(colnames(model.matrix(formula, data))), beta = I(beta),
       covariance = I(as.vector(V)), df = df, specs = I(specs), by = I(as.character(by)), at = lapply(at, I), type = type,
       link = if (is.null(link)) "identity" else link, weights = weights, method = method, reference = reference,
       regrid = regrid, meta = by_rma, means = rows(summary(means, type = type, infer = c(TRUE, FALSE))),
       contrasts = rows(summary(differences, type = "link", infer = c(TRUE, TRUE))),
       ratios = if (!is.null(link) && !regrid) rows(summary(differences, type = "response", infer = c(TRUE, TRUE))),
       tukey = if (is.null(tukey)) NULL else I(tukey), joint = lapply(joint, I))
}

cases <- list(
  case("factor and number", ~ diagnosis + age, "diagnosis"),
  case("two factors with interaction, by", ~ diagnosis * sex + age, "diagnosis", by = "sex"),
  case("both factors", ~ diagnosis * sex, c("diagnosis", "sex"), method = "revpairwise"),
  case("averaged over a factor", ~ diagnosis * sex + age, "diagnosis", method = "trt.vs.ctrl", reference = 3),
  case("proportional weights", ~ diagnosis * sex + age, "diagnosis", weights = "proportional"),
  case("a power, at", ~ diagnosis * age + I(age^2), "diagnosis", at = list(age = 30)),
  case("several values, averaged", ~ diagnosis * age, "diagnosis", at = list(age = c(20, 60)), method = "consec"),
  case("values of a number", ~ diagnosis + age, "age", by = "diagnosis", at = list(age = c(20, 40, 60))),
  case("a number of two values is kept", ~ treated * diagnosis, "treated", by = "diagnosis"),
  case("a number of two values is averaged", ~ treated + diagnosis, "diagnosis"),
  case("a number made a factor", ~ factor(visit) + age, "visit"),
  case("log of a number", ~ sex + log(age), "sex"),
  case("some levels", ~ diagnosis + age, "diagnosis", at = list(diagnosis = c("bipolar", "healthy"))),
  case("no intercept", ~ 0 + diagnosis + age, "diagnosis"),
  case("meta-regression", ~ diagnosis * sex + age, "diagnosis", by_rma = TRUE),
  case("logit link", ~ diagnosis + age, "diagnosis", type = "response", link = "logit"),
  case("logit link, differences of means", ~ diagnosis * sex + age, "diagnosis", by = "sex", type = "response", link = "logit", regrid = TRUE),
  case("log link", ~ diagnosis * sex, "sex", type = "response", link = "log"),
  case("log link, differences of means", ~ diagnosis + sex, "diagnosis", type = "response", link = "log", regrid = TRUE))

write_json(list(people = people, cases = cases), "emmeans.json", digits = NA, auto_unbox = TRUE, na = "null", null = "null", pretty = FALSE)
versions <- c(R = R.version.string, sapply(c("emmeans", "metafor", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "emmeans_versions.json", auto_unbox = TRUE, pretty = TRUE)
